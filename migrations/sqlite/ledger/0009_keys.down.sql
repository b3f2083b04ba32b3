DROP TABLE idempotency_keys;
DROP TABLE audit;
DROP TABLE api_keys;
