-- Keywords: words without their accents, of the configuration `simple`.
CREATE TABLE texts_words (image BIGINT PRIMARY KEY, words TSVECTOR NOT NULL);
CREATE INDEX texts_words_words ON texts_words USING gin (words);
CREATE TABLE names_words (number BIGINT PRIMARY KEY, words TSVECTOR NOT NULL);
CREATE INDEX names_words_words ON names_words USING gin (words);

-- Vectors of images and of entity texts, L2-normalised: id is the segment's number × 2^22 + the row in it.
CREATE TABLE vectors (id BIGINT PRIMARY KEY, vector {vector} NOT NULL);
CREATE TABLE entity_vectors (id BIGINT PRIMARY KEY, vector halfvec({dim}) NOT NULL);
ALTER TABLE vectors ALTER vector SET STORAGE PLAIN;

CREATE TABLE thumbnails (content TEXT PRIMARY KEY, webp BYTEA NOT NULL);
