-- Schema 5: the sandbox that an attempt ran in, in the words of its worker. NULL: not told.

ALTER TABLE attempts ADD COLUMN sandbox text;
