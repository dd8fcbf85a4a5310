// What HTML cannot do: times in the viewer's zone, charts, selection, shortcuts, the colour scheme.
"use strict";
(() => {
  const all = (selector, inside) => Array.from((inside || document).querySelectorAll(selector));

  // Times
  const styles = {
    minute: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }),
    date: new Intl.DateTimeFormat(undefined, { dateStyle: "medium" }),
    full: new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" }),
  };
  const ago = new Intl.RelativeTimeFormat(document.documentElement.lang, { style: "short", numeric: "always" });
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  function relative(seconds) {
    const [unit, length] = units.find(([, each]) => Math.abs(seconds) >= each) || units[3];
    return ago.format(Math.trunc(seconds / length), unit).replace(".", "");
  }

  function show_time(element) {
    const at = new Date(element.dateTime), seconds = (at - Date.now()) / 1000;
    if (Number.isNaN(at.getTime())) return;
    const style = element.dataset.style;
    const near = Math.abs(seconds) < 14 * 86400;
    const text = style === "relative" && near ? relative(seconds) : styles[style === "date" ? "date" : "minute"].format(at);
    if (element.textContent !== text) element.textContent = text;
    element.title = styles.full.format(at);
  }

  // Charts
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
  const formats = {
    count: (value) => compact.format(value),
    percent: (value) => `${+(value * 100).toFixed(1)}%`,
  };
  const drawn = new Map();
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  const whole = [1, 2, 5];
  for (let size = 10; size < 1e15; size *= 10) whole.push(size, 2 * size, 5 * size);

  // Marks of the time axis in the viewer's zone and language: the day where it changes, else the hour
  function marks(chart, times, axis, space, step) {
    let last = "";
    return times.map((time) => {
      const at = new Date(time * 1000), date = day.format(at);
      if (step >= 86400) return date;
      const text = date === last || !last ? clock.format(at) : date;
      last = date;
      return text;
    });
  }

  function draw(figure) {
    const data = JSON.parse(figure.dataset.json);
    const plot = figure.querySelector(".plot");
    if (!data.x.length) return;
    drawn.get(figure)?.destroy();
    const named = typeof data.x[0] === "string";
    const x = named ? data.x.map((_, place) => place) : data.x;
    const bars = figure.dataset.chart === "bars";
    const show = formats[data.unit] || formats.count;
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const tone = colour("accent"), values = data.series[0].values;
    const options = {
      width: Math.max(plot.parentElement.clientWidth, 120),
      height: Number(figure.dataset.height) || 180,
      padding: [8, 20, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: named ? { time: false, range: [-0.6, x.length - 0.4] } : { time: true, ...(bars && x.length > 1 ? { range: [x[0] - (x[1] - x[0]) / 2, x.at(-1) + (x[1] - x[0]) / 2] } : {}) },
        y: { range: (chart, low, high) => [Math.min(0, low || 0), high > 0 ? high * 1.06 : 1] },
      },
      axes: [
        named ? { ...axis, grid: { show: false }, values: (chart, places) => places.map((place) => data.x[place] ?? ""), incrs: [1, 2, 3, 4, 6, 8, 12, 24], space: 44, size: 30 } : { ...axis, values: marks, size: 30, space: 64 },
        { ...axis, size: 52, ...(data.unit && data.unit !== "count" ? {} : { incrs: whole }), values: (chart, values) => values.map(show) },
      ],
      series: [{}, bars
        ? { stroke: tone, fill: tone, width: 0, paths: uPlot.paths.bars({ size: [0.75, 40] }), points: { show: false } }
        : { stroke: tone, width: 2, fill: `${tone}22`, points: { show: x.length < 3 } }],
    };
    plot.replaceChildren();
    const chart = new uPlot(options, [x, values], plot);
    drawn.set(figure, chart);
    label(chart, plot, data, named, show);
  }

  // The values under the pointer, as text in a corner of the chart
  function label(chart, plot, data, named, show) {
    const note = document.createElement("output");
    note.className = "under";
    plot.append(note);
    chart.over.addEventListener("mousemove", () => {
      const place = chart.cursor.idx;
      if (place == null) return;
      const at = named ? data.x[place] : styles.minute.format(new Date(data.x[place] * 1000));
      const value = data.series[0].values[place];
      note.textContent = `${at}: ${value == null ? "–" : show(value)}`;
    });
    chart.over.addEventListener("mouseleave", () => { note.textContent = ""; });
  }

  const draw_all = (inside) => all("figure[data-chart]", inside).forEach(draw);

  new ResizeObserver(() => {
    for (const [figure, chart] of drawn) {
      if (!figure.isConnected) { chart.destroy(); drawn.delete(figure); continue; }
      const width = figure.clientWidth;
      if (width && width !== chart.width) chart.setSize({ width, height: chart.height });
    }
  }).observe(document.body);

  // Selection: a box with data-all selects the boxes of its form; [data-selected] shows their number
  function select(event) {
    const box = event.target;
    if (!(box instanceof HTMLInputElement) || box.type !== "checkbox") return;
    const form = box.form || box.closest("table");
    if (!form) return;
    const boxes = all('input[name="selected"]', form);
    if ("all" in box.dataset) boxes.forEach((each) => { each.checked = box.checked; });
    count(form, boxes);
  }

  function count(form, boxes) {
    const chosen = boxes.filter((each) => each.checked).length;
    all("[data-all]", form).forEach((each) => { each.checked = chosen > 0 && chosen === boxes.length; each.indeterminate = chosen > 0 && chosen < boxes.length; });
    all("[data-selected]", form).forEach((each) => { each.textContent = String(chosen); });
    all("[data-needs-selection]", form).forEach((each) => { each.disabled = chosen === 0; });
  }

  // Shortcuts
  let before = "";
  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select, dialog[open]")) {
      if (event.key === "Escape" && event.target.id === "find") event.target.blur();
      return;
    }
    const key = event.key, first = before;
    before = key === "g" ? "g" : "";
    if (first === "g") {
      const place = document.querySelector(`a[data-go="${CSS.escape(key)}"]`);
      if (place) { event.preventDefault(); place.click(); }
    } else if (key === "/") {
      const find = document.getElementById("find");
      if (find) { event.preventDefault(); find.focus(); find.select(); }
    } else if (key === "?") {
      event.preventDefault(); document.getElementById("shortcuts")?.showModal();
    } else if (key === "j" || key === "k") {
      move(key === "j" ? 1 : -1);
    } else if (key === "x") {
      document.activeElement?.closest("tr")?.querySelector('input[name="selected"]')?.click();
    }
  }

  function move(step) {
    const rows = all("main tbody tr").filter((row) => row.querySelector("a[href], input") && row.offsetParent);
    const here = rows.indexOf(document.activeElement?.closest("tr"));
    const row = rows[here < 0 ? (step > 0 ? 0 : rows.length - 1) : here + step];
    row?.querySelector("a[href], input")?.focus();
  }

  // The colour scheme: the cookie lets the server draw the right one at once
  function turn() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${root.dataset.theme}; Path=/; Max-Age=31536000; SameSite=Strict${secure}`;
    draw_all();
  }

  // Focus survives a swap: on what has the same id, name or link as before, or else the same place
  let focused = [];
  function remember() {
    const here = document.activeElement;
    focused = [];
    if (!here || here === document.body) return;
    if (here.id) focused.push(`#${CSS.escape(here.id)}`);
    if (here.name) focused.push(`[name="${CSS.escape(here.name)}"][value="${CSS.escape(here.value)}"]`);
    if (here.hasAttribute("href")) focused.push(`main a[href="${CSS.escape(here.getAttribute("href"))}"]`);
    const steps = [];
    let each = here;
    for (; each.parentElement && !each.id; each = each.parentElement) steps.unshift(`:nth-child(${[...each.parentElement.children].indexOf(each) + 1})`);
    if (each.id) focused.push([`#${CSS.escape(each.id)}`, ...steps].join(" > "));
  }
  function restore(event) {
    const lost = !document.activeElement || document.activeElement === document.body;
    if (lost) focused.map((selector) => document.querySelector(selector)).find(Boolean)?.focus({ preventScroll: true });
    refresh(event.target);
  }

  // What a refused request says, shown beside the page that sent it
  function refused(event) {
    const answer = event.detail.xhr;
    if (answer.status === 401) { location.reload(); return; }
    const page = new DOMParser().parseFromString(answer.responseText, "text/html");
    const text = page.querySelector("main .lead, main .notice, main p")?.textContent.trim();
    const plain = answer.getResponseHeader("Content-Type")?.startsWith("text/plain") && answer.responseText.slice(0, 300);
    const notice = document.createElement("p");
    notice.className = "notice";
    notice.dataset.kind = "error";
    notice.textContent = text || plain || `${answer.status} ${answer.statusText}`;
    document.getElementById("notices")?.replaceChildren(notice);
    notice.scrollIntoView({ block: "nearest" });
  }

  // A page that should update itself says when it does not, after some attempts to connect again
  let stale = 0;
  function live(works) {
    const note = document.getElementById("stale");
    if (!works) { stale ||= setTimeout(() => { note.hidden = false; }, 8000); return; }
    clearTimeout(stale);
    stale = 0;
    note.hidden = true;
  }

  // A form that was sent is not sent again by a second click
  function send(event) {
    if (event.target.method !== "post" || event.defaultPrevented) return;
    if ("sent" in event.target.dataset) event.preventDefault();
    else { event.target.dataset.sent = ""; setTimeout(forget, 3000); }
  }
  const forget = () => all("form[data-sent]").forEach((form) => { delete form.dataset.sent; });

  function refresh(inside) {
    all("time[datetime]", inside).forEach(show_time);
    draw_all(inside);
    all("form", inside).forEach((form) => { const boxes = all('input[name="selected"]', form); if (boxes.length) count(form, boxes); });
  }

  function start() {
    refresh(document);
    setInterval(() => all('time[data-style="relative"]').forEach(show_time), 15000);
    document.addEventListener("change", select);
    document.addEventListener("keydown", press);
    document.addEventListener("click", (event) => all("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; }));
    document.body.addEventListener("htmx:beforeSwap", remember);
    document.body.addEventListener("htmx:sseBeforeMessage", remember);
    document.body.addEventListener("htmx:afterSettle", restore);
    document.body.addEventListener("htmx:responseError", refused);
    document.body.addEventListener("htmx:sseOpen", () => live(true));
    document.body.addEventListener("htmx:sseError", () => live(false));
    document.addEventListener("submit", send);
    addEventListener("pageshow", forget);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw_all());
    for (const [id, act] of [["theme", turn], ["help", () => document.getElementById("shortcuts").showModal()]]) {
      const button = document.getElementById(id);
      if (button) { button.hidden = false; button.addEventListener("click", act); }
    }
    const zone = document.getElementById("zone");
    if (zone) { zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone; zone.parentElement.hidden = false; }
  }
  start();
})();
