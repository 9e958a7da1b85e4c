-- The one source of truth of an index; vectors lie in segments, thumbnails and the vector index are caches.
-- Of PostgreSQL, whose types have other names, see postgres.py; keywords are in the two files beside.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE sources (
  id INTEGER PRIMARY KEY,
  path TEXT NOT NULL UNIQUE,
  shard TEXT NOT NULL,
  stamp TEXT NOT NULL,            -- of the content when it was read to its end; '' where that has not happened yet
  reading TEXT NOT NULL,          -- ReadSettings as JSON
  labels TEXT NOT NULL            -- folder of labels, or ''
);

CREATE TABLE segments (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  file TEXT NOT NULL UNIQUE,
  rows INTEGER NOT NULL,
  digest TEXT NOT NULL            -- of the file, BLAKE2b, 32 hexadecimal digits
);

CREATE TABLE images (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  source INTEGER NOT NULL REFERENCES sources,
  key TEXT NOT NULL,
  copy INTEGER NOT NULL,          -- 0; 1, 2 … of rows that repeat a key
  status TEXT NOT NULL,
  content TEXT NOT NULL,
  width INTEGER NOT NULL,
  height INTEGER NOT NULL,
  phash INTEGER,                  -- signed 64 bits
  text TEXT NOT NULL,
  url TEXT NOT NULL,
  columns TEXT NOT NULL,          -- JSON
  file BLOB,                      -- as of os.fsencode; NULL where it lies in the shard
  size INTEGER NOT NULL,          -- of the file or member in bytes; -1 where unknown
  mtime INTEGER NOT NULL,         -- of the file, ns; 0 where it lies in the shard
  "offset" INTEGER NOT NULL,      -- in the shard; -1 where unknown
  segment INTEGER REFERENCES segments,
  row INTEGER,                    -- in the segment
  UNIQUE (source, key, copy)
);
CREATE INDEX images_content ON images (content);
CREATE INDEX images_segment ON images (segment, row);
CREATE INDEX images_key ON images (key);

CREATE TABLE entities (
  id TEXT PRIMARY KEY,
  number INTEGER NOT NULL UNIQUE, -- the row of the names' keywords, and of entity vectors
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  popularity DOUBLE PRECISION NOT NULL
) WITHOUT ROWID;
CREATE TABLE aliases (entity TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (entity, name)) WITHOUT ROWID;
CREATE TABLE types (entity TEXT NOT NULL, type TEXT NOT NULL, PRIMARY KEY (entity, type)) WITHOUT ROWID;
CREATE INDEX types_type ON types (type);
-- All classes that an entity belongs to, whether directly or not.
CREATE TABLE supertypes (entity TEXT NOT NULL, above TEXT NOT NULL, PRIMARY KEY (above, entity)) WITHOUT ROWID;

CREATE TABLE labels (
  image INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
  entity TEXT NOT NULL,
  probability DOUBLE PRECISION NOT NULL,
  accepted INTEGER NOT NULL,
  link_score DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (image, entity)
) WITHOUT ROWID;
CREATE INDEX labels_entity ON labels (entity, accepted, probability);

CREATE TABLE verdicts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  shard TEXT NOT NULL,
  key TEXT NOT NULL,
  entity TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('y', 'n', 'u')),
  instead TEXT NOT NULL,
  who TEXT NOT NULL,
  made TEXT NOT NULL,             -- ISO, UTC
  undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX verdicts_label ON verdicts (shard, key, entity);
CREATE INDEX verdicts_entity ON verdicts (entity);

CREATE TABLE commits (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  made TEXT NOT NULL,
  what TEXT NOT NULL,
  changes TEXT NOT NULL           -- JSON
);
