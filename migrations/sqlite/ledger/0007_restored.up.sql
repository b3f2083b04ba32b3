-- What somebody said of the file that a look at it can't tell: 'restored', that it was put back from a copy. Nothing once that was seen to.
ALTER TABLE accounts ADD COLUMN history TEXT;
