DROP TABLE switch_confirmations;
DELETE FROM switches WHERE switch = 'first_start';
