DROP TABLE idempotency_keys, audit, api_keys;
