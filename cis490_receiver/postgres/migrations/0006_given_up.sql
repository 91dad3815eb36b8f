-- When the collector gave an upload up, of which no episode can come from then on. The note stays until its object was
-- deleted once more, long after: its writer may have been under way.
ALTER TABLE uploading ADD COLUMN given_up_at timestamptz;
CREATE INDEX uploading_given_up ON uploading (given_up_at) WHERE given_up_at IS NOT NULL;
