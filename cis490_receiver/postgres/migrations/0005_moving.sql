-- Why the index takes no line and is shown to nobody: everything is on its way to another place, or from there, or went.
ALTER TABLE journal_head ADD COLUMN closed_for text;
