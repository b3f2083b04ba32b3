-- Back to nothing: children before what they refer to.
DROP TABLE position_differences;
DROP TABLE quarantine;
DROP TABLE switch_history;
DROP TABLE switches;
DROP TABLE portfolio_positions;
DROP TABLE executions;
DROP TABLE order_events;
DROP TABLE parents;
DROP TABLE orders;
DROP TABLE accounts;
