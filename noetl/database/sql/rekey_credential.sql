-- Write what a locked credential has become under another key; its value is the same, so is `updated_at`.
UPDATE credential SET key_id = %(key_id)s, data = %(data)s WHERE name = %(name)s
