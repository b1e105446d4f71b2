"""The schema: applied, migrated, verified, with its logins; the inbox of other databases."""
