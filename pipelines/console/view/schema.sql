-- What the pages list. Everything here comes from Redis and the topics, and can be read from them again.
-- Times are epoch seconds. Severities are 1 (info), 2 (warning) and 3 (critical), 0 for none.
-- Hashes are the keyed 64-bit hashes of fingerprints, stored as signed integers, 0 if unknown.

CREATE TABLE keys (  -- keys, accounts and end users
  key TEXT PRIMARY KEY,
  account TEXT NOT NULL DEFAULT '',   -- pseudonym; an account is its own
  tenant TEXT NOT NULL DEFAULT '',
  requests INTEGER NOT NULL DEFAULT 0,
  tokens INTEGER NOT NULL DEFAULT 0,
  cost REAL NOT NULL DEFAULT 0,       -- of all tokens, by the price of its latest model
  hour INTEGER NOT NULL DEFAULT 0,    -- requests in the last complete hour
  first_seen REAL NOT NULL DEFAULT 0,
  last_seen REAL NOT NULL DEFAULT 0,
  severity INTEGER NOT NULL DEFAULT 0,  -- of its most severe open alert
  payment INTEGER NOT NULL DEFAULT 0,
  network INTEGER NOT NULL DEFAULT 0,
  tls INTEGER NOT NULL DEFAULT 0,
  user_agent INTEGER NOT NULL DEFAULT 0,
  system INTEGER NOT NULL DEFAULT 0,
  model INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX keys_by_severity ON keys (severity, cost, requests, tokens, account)
  WHERE severity > 0;
CREATE INDEX keys_by_account ON keys (account, severity DESC, cost DESC, requests DESC, key, tenant)
  WHERE account != '';
CREATE INDEX keys_by_tenant ON keys (tenant, severity, cost) WHERE tenant != '';
CREATE INDEX keys_by_last_seen ON keys (last_seen);
CREATE INDEX keys_by_payment ON keys (payment, requests DESC, key, tenant)
  WHERE payment != 0;
CREATE INDEX keys_by_network ON keys (network, requests DESC, key, tenant)
  WHERE network != 0;
CREATE INDEX keys_by_system ON keys (system, requests DESC, key, tenant)
  WHERE system != 0;

CREATE TABLE tenants (  -- of accounts, by their prefixes
  account TEXT PRIMARY KEY,
  tenant TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE traits (  -- short names of identifiers that members of a campaign share
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  hash INTEGER NOT NULL,
  PRIMARY KEY (name, hash)
) WITHOUT ROWID;

CREATE TABLE templates (  -- hashes of prompt templates that are shared with partners
  hash TEXT NOT NULL,
  key TEXT NOT NULL,
  PRIMARY KEY (hash, key)
) WITHOUT ROWID;
CREATE INDEX templates_by_key ON templates (key);

CREATE TABLE alerts (  -- the latest state of each
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  severity INTEGER NOT NULL,
  state TEXT NOT NULL,
  subject TEXT NOT NULL,
  subject_type TEXT NOT NULL,
  whole TEXT NOT NULL DEFAULT '',     -- id of the alert that it is part of
  decision TEXT NOT NULL,
  score REAL NOT NULL,
  summary TEXT NOT NULL,
  evidence TEXT NOT NULL,             -- JSON
  opened_at REAL NOT NULL,            -- event time of its opening
  detected_at REAL NOT NULL,          -- event time of its latest state
  changed_at REAL NOT NULL,           -- wall-clock time of its latest state
  withdrawn TEXT NOT NULL DEFAULT '', -- who found it to be no attack
  withdrawn_at REAL NOT NULL DEFAULT 0,
  silenced_until REAL NOT NULL DEFAULT 0,
  again INTEGER NOT NULL DEFAULT 0    -- whether it came in spite of a withdrawal
) WITHOUT ROWID;
CREATE INDEX alerts_by_subject ON alerts (subject, detected_at);
CREATE INDEX alerts_open ON alerts (severity, changed_at) WHERE state != 'resolved';
CREATE INDEX alerts_by_time ON alerts (changed_at);
CREATE INDEX alerts_by_whole ON alerts (whole) WHERE whole != '';
CREATE INDEX alerts_again ON alerts (changed_at) WHERE again > 0;
CREATE INDEX alerts_withdrawn ON alerts (withdrawn_at) WHERE withdrawn_at > 0;

CREATE TABLE alert_messages (  -- each state that an alert has had
  id TEXT NOT NULL,
  detected_at REAL NOT NULL,
  state TEXT NOT NULL,
  severity INTEGER NOT NULL,
  decision TEXT NOT NULL,
  seen_at REAL NOT NULL,
  summary TEXT NOT NULL,
  PRIMARY KEY (id, detected_at, state)
) WITHOUT ROWID;
CREATE INDEX alert_messages_by_time ON alert_messages (seen_at);

CREATE TABLE in_force (  -- what applies to each subject with a decision
  subject TEXT PRIMARY KEY,
  action TEXT NOT NULL,               -- that gateways enforce
  decided TEXT NOT NULL,              -- without what holds it back
  why TEXT NOT NULL,
  origin TEXT NOT NULL,
  kind TEXT NOT NULL,
  reason TEXT NOT NULL,
  until REAL NOT NULL,
  rate REAL,
  made_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX in_force_by_end ON in_force (until);
CREATE INDEX in_force_by_time ON in_force (made_at);

CREATE TABLE decisions (  -- what has applied to each subject, over time
  subject TEXT NOT NULL,
  at REAL NOT NULL,
  action TEXT NOT NULL,               -- that gateways enforced from then on
  decided TEXT NOT NULL,              -- without what held it back; observe when the decision ended
  reason TEXT NOT NULL,               -- id of the alert, or of a person's change
  until REAL NOT NULL,
  PRIMARY KEY (subject, at)
) WITHOUT ROWID;
CREATE INDEX decisions_by_time ON decisions (at);

CREATE TABLE audit (
  id TEXT PRIMARY KEY,
  at REAL NOT NULL,
  what TEXT NOT NULL,
  who TEXT NOT NULL,
  why TEXT NOT NULL,
  subject TEXT NOT NULL,              -- as in the audit
  about TEXT NOT NULL,                -- the key, account, end user or campaign that it concerns
  before TEXT NOT NULL,               -- JSON
  after TEXT NOT NULL,                -- JSON
  reference TEXT NOT NULL DEFAULT ''  -- the same for all changes of one action
) WITHOUT ROWID;
CREATE INDEX audit_by_reference ON audit (reference) WHERE reference != '';
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_who ON audit (who, at);
CREATE INDEX audit_by_what ON audit (what, at);
CREATE INDEX audit_by_about ON audit (about, at);
CREATE INDEX audit_by_subject ON audit (subject, at);

CREATE TABLE campaigns (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL,                -- open, over or merged
  severity INTEGER NOT NULL,
  since REAL NOT NULL,
  members INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  cost REAL NOT NULL,
  last_hour INTEGER NOT NULL,
  decision TEXT NOT NULL,
  reason TEXT NOT NULL,
  ended REAL NOT NULL,
  until REAL NOT NULL,                -- event time of the newest fingerprint
  others INTEGER NOT NULL,            -- other keys that its members were compared with
  population INTEGER NOT NULL,        -- keys that the linker knows
  detail BLOB NOT NULL                -- msgpack of CampaignDetail without members
) WITHOUT ROWID;
CREATE INDEX campaigns_open ON campaigns (severity, cost) WHERE state = 'open';

CREATE TABLE members (
  campaign TEXT NOT NULL,
  key TEXT NOT NULL,
  role TEXT NOT NULL,                 -- member or bystander
  confidence REAL NOT NULL,
  requests INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  cost REAL NOT NULL,
  first_seen REAL NOT NULL,
  last_seen REAL NOT NULL,
  named REAL NOT NULL,                -- when it was first listed in an alert, 0 if it was not
  own_alert INTEGER NOT NULL,
  nats TEXT NOT NULL,                 -- JSON: its evidence by kind
  shares TEXT NOT NULL,               -- JSON: names of the traits that it shares
  PRIMARY KEY (campaign, key)
) WITHOUT ROWID;
CREATE INDEX members_by_key ON members (key);

CREATE TABLE campaign_tenants (  -- tenants that have a member
  campaign TEXT NOT NULL,
  tenant TEXT NOT NULL,
  PRIMARY KEY (campaign, tenant)
) WITHOUT ROWID;

CREATE TABLE forgotten (  -- subjects to leave out, also when a topic is read again
  subject TEXT PRIMARY KEY,
  at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE progress (  -- how far the reader is
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;
