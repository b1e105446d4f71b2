-- Add a credential, unless there is one of this name.
INSERT INTO credential (name, type, key_id, data, description, created_at, updated_at)
VALUES (%(name)s, %(type)s, %(key_id)s, %(data)s, %(description)s, clock_timestamp(), clock_timestamp())
ON CONFLICT (name) DO NOTHING
RETURNING credential_id
