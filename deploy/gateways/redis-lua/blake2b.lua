-- Keyed BLAKE2b (RFC 7693) for LuaJIT, with a personalisation, as the monitor makes pseudonyms.
-- blake2b(data, size, key, person) returns `size` bytes; key up to 64 bytes, person up to 16.

local bit = require("bit")
local ffi = require("ffi")

local bxor, bnot, ror = bit.bxor, bit.bnot, bit.ror
local block, words = ffi.typeof("uint8_t[128]"), ffi.typeof("uint64_t[16]")
local BLOCK = 128

local IV = ffi.new("uint64_t[8]", {
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL,
})

local SIGMA = {
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
    { 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
    { 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 },
    { 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
    { 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 },
    { 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
    { 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 },
    { 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
    { 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 },
    { 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 },
}

local MIXED = {
    { 0, 4, 8, 12 }, { 1, 5, 9, 13 }, { 2, 6, 10, 14 }, { 3, 7, 11, 15 },
    { 0, 5, 10, 15 }, { 1, 6, 11, 12 }, { 2, 7, 8, 13 }, { 3, 4, 9, 14 },
}

local function compress(h, bytes, length, last)
    local m, v = words(), words()
    ffi.copy(m, bytes, BLOCK)
    for i = 0, 7 do
        v[i], v[i + 8] = h[i], IV[i]
    end
    v[12] = bxor(v[12], length)
    if last then
        v[14] = bnot(v[14])
    end
    for round = 0, 11 do
        local sigma = SIGMA[round % 10 + 1]
        for i, at in ipairs(MIXED) do
            local a, b, c, d = at[1], at[2], at[3], at[4]
            v[a] = v[a] + v[b] + m[sigma[2 * i - 1]]
            v[d] = ror(bxor(v[d], v[a]), 32)
            v[c] = v[c] + v[d]
            v[b] = ror(bxor(v[b], v[c]), 24)
            v[a] = v[a] + v[b] + m[sigma[2 * i]]
            v[d] = ror(bxor(v[d], v[a]), 16)
            v[c] = v[c] + v[d]
            v[b] = ror(bxor(v[b], v[c]), 63)
        end
    end
    for i = 0, 7 do
        h[i] = bxor(h[i], v[i], v[i + 8])
    end
end

return function(data, size, key, person)
    local parameters = string.char(size, #key, 1, 1) .. ("\0"):rep(44)
    parameters = parameters .. person .. ("\0"):rep(16 - #person)
    local h = ffi.new("uint64_t[8]")
    ffi.copy(h, parameters, 64)
    for i = 0, 7 do
        h[i] = bxor(h[i], IV[i])
    end
    if #key > 0 then
        data = key .. ("\0"):rep(BLOCK - #key) .. data
    end
    local blocks = math.max(1, math.ceil(#data / BLOCK))
    for i = 1, blocks do
        local part = data:sub((i - 1) * BLOCK + 1, i * BLOCK)
        local bytes = block()
        ffi.copy(bytes, part, #part)
        compress(h, bytes, ffi.cast("uint64_t", math.min(i * BLOCK, #data)), i == blocks)
    end
    return ffi.string(h, size)
end
