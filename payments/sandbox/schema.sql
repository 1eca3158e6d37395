-- The sandbox's ledger. Times are microseconds since 1970, amounts minor units.

CREATE TABLE IF NOT EXISTS trades (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    out_trade_no TEXT NOT NULL,
    part INTEGER NOT NULL,              -- 1 is the order itself; 2, 3, ... when its number was paid again
    channel_number TEXT,                -- given by the payment
    amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('OPEN', 'PAID', 'CLOSED')),
    description TEXT NOT NULL,
    notify_url TEXT NOT NULL,
    request TEXT NOT NULL,              -- what the merchant sent, as JSON
    notes TEXT NOT NULL DEFAULT '{}',   -- what else the channel keeps about it, as JSON
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    paid_at INTEGER,
    declined_at INTEGER,
    CHECK ((status = 'PAID') = (paid_at IS NOT NULL)),
    CHECK ((status = 'PAID') = (channel_number IS NOT NULL)),
    UNIQUE (channel, out_trade_no, part),
    UNIQUE (channel, channel_number)
);
CREATE TABLE IF NOT EXISTS handles (    -- what a QR code says
    content TEXT PRIMARY KEY,
    trade_id INTEGER NOT NULL REFERENCES trades,
    valid_until INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS handles_of_trade ON handles (trade_id);
CREATE TABLE IF NOT EXISTS refunds (
    id INTEGER PRIMARY KEY,
    trade_id INTEGER NOT NULL REFERENCES trades,
    channel TEXT NOT NULL,
    out_refund_no TEXT NOT NULL,
    channel_number TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    status TEXT NOT NULL CHECK (status IN ('PROCESSING', 'SUCCESS', 'ABNORMAL', 'CLOSED')),
    ends_as TEXT NOT NULL CHECK (ends_as IN ('SUCCESS', 'ABNORMAL', 'CLOSED')),
    notify_url TEXT NOT NULL,           -- empty: not notified
    request TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,            -- when it ends
    done_at INTEGER,
    UNIQUE (channel, out_refund_no),
    UNIQUE (channel, channel_number)
);
CREATE INDEX IF NOT EXISTS refunds_of_trade ON refunds (trade_id);
CREATE INDEX IF NOT EXISTS refunds_open ON refunds (due_at) WHERE status = 'PROCESSING';
CREATE TABLE IF NOT EXISTS notices (
    id TEXT PRIMARY KEY,
    trade_id INTEGER NOT NULL REFERENCES trades,
    refund_id INTEGER REFERENCES refunds,
    url TEXT NOT NULL,
    event TEXT NOT NULL DEFAULT '',     -- which of the channel's events, where it has several
    created_at INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER                      -- the next try; NULL when acknowledged or given up
);
CREATE INDEX IF NOT EXISTS notices_of_trade ON notices (trade_id);
CREATE INDEX IF NOT EXISTS notices_due ON notices (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS tries (
    id INTEGER PRIMARY KEY,
    notice_id TEXT NOT NULL REFERENCES notices,
    at INTEGER NOT NULL,
    status INTEGER,                     -- what the merchant answered; NULL when nothing came back
    error TEXT,
    acknowledged INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS tries_of_notice ON tries (notice_id);
CREATE TABLE IF NOT EXISTS webhooks (   -- where a channel sends what no request names an address for
    channel TEXT PRIMARY KEY,
    url TEXT NOT NULL
);
