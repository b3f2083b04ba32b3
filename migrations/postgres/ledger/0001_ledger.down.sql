DROP TABLE switch_confirmations, instance_metadata, position_differences, quarantine_causes, switch_history, switches, portfolio_positions, executions,
    order_events, parents, orders, batches_of_nobody, accounts;
DROP FUNCTION is_append_only();
