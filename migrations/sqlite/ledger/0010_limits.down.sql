DROP TABLE lockouts;
DROP TABLE limit_overrides;
DROP TABLE limits;
DELETE FROM switches WHERE switch = 'limits';
