-- A ledger as version 1 of its schema made it.
PRAGMA application_id = 1380730194;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "about" VALUES('timezone','Europe/Berlin');
CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        time REAL NOT NULL,
        relay TEXT,
        client TEXT,
        "grant" TEXT,
        session_id TEXT,
        agent_id TEXT,
        parent_agent_id TEXT,
        operation TEXT NOT NULL,
        model TEXT,
        status INTEGER,
        outcome TEXT NOT NULL,
        reason TEXT,
        error_type TEXT,
        duration REAL NOT NULL,
        first_token REAL,
        input INTEGER,
        cache_read INTEGER,
        cache_write_5m INTEGER,
        cache_write_1h INTEGER,
        cache_write_unknown INTEGER,
        output INTEGER,
        reasoning INTEGER,
        tier TEXT,
        cost INTEGER,
        estimate INTEGER NOT NULL,
        estimate_tokens INTEGER NOT NULL,
        request_id TEXT,
        request_bytes INTEGER NOT NULL,
        response_bytes INTEGER NOT NULL,
        legs INTEGER,
        hops TEXT,
        calls INTEGER NOT NULL
    );
INSERT INTO "calls" VALUES(1,1800000000.0,'anthropic','agent','anthropic',NULL,NULL,NULL,'messages','claude-opus-4-8',200,'ok',NULL,NULL,1.5,NULL,10,NULL,NULL,NULL,NULL,NULL,NULL,NULL,50,0,0,NULL,2,3,NULL,NULL,1);
CREATE INDEX calls_time ON calls (time);
CREATE INDEX calls_sessionless ON calls (client) WHERE session_id IS NULL;
CREATE INDEX calls_session ON calls (session_id) WHERE session_id IS NOT NULL;
COMMIT;
