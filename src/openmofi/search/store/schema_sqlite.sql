-- Keywords: FTS5 over texts and names.
CREATE VIRTUAL TABLE texts_fts USING fts5 (
  text, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 2");
CREATE VIRTUAL TABLE names_fts USING fts5 (
  name, aliases, content='', contentless_delete=1, tokenize="unicode61 remove_diacritics 2", prefix='1 2 3');
