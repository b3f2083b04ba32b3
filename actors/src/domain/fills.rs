//! Fills, counted once, whatever their source and order.
//!
//! A fill is known by (broker order id, cumulative quantity). An order's filled quantity is the greatest cumulative
//! quantity that any source reported; its cost is the sum of the executions that we have, and for a stretch that we
//! only know as a total, the venue's average until the execution arrives.

use rust_decimal::Decimal;

use super::venue::Execution;

/// How much of an order has traded, and what that cost without fees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Quantity.
    pub qty: Decimal,
    /// Quantity times price.
    pub cost: Decimal,
}

/// A total as a venue reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedTotal {
    /// Cumulative quantity.
    pub qty: Decimal,
    /// Its average price.
    pub avg_price: Option<Decimal>,
}

impl Filled {
    /// What is known after a report, with all executions of the order that we have, each once.
    #[must_use]
    pub fn after<'a>(self, total: ReportedTotal, executions: impl Iterator<Item = &'a Execution>) -> Self {
        let mut covered = Self::default();
        let mut furthest = (Decimal::ZERO, None);
        for execution in executions {
            covered.qty += execution.qty.get();
            covered.cost += execution.qty.get() * execution.price.get();
            if execution.cum_qty > furthest.0 {
                furthest = (execution.cum_qty, Some(execution.price.get()));
            }
        }
        let qty = self.qty.max(total.qty).max(furthest.0);
        if covered.qty == qty {
            return covered;
        }
        if qty == self.qty && qty != total.qty {
            return self;
        }
        let cost = match (total.avg_price, furthest.1) {
            (Some(average), _) if total.qty == qty => average * qty,
            (Some(price), None) | (_, Some(price)) => self.cost + (qty - self.qty) * price,
            (None, None) => self.cost,
        };
        Self { qty, cost }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::money::{Price, Qty};
    use crate::domain::names::BrokerOrderId;

    fn executions(parts: &[(u32, u32)]) -> Vec<Execution> {
        let mut cum = Decimal::ZERO;
        parts
            .iter()
            .enumerate()
            .map(|(n, (qty, price))| {
                cum += Decimal::from(*qty);
                Execution {
                    execution_id: n.to_string(),
                    broker_order_id: BrokerOrderId::parse("b-1").unwrap(),
                    qty: Qty::new(Decimal::from(*qty)).unwrap(),
                    price: Price::new(Decimal::from(*price)).unwrap(),
                    cum_qty: cum,
                    fee: Decimal::ZERO,
                    at: "2026-11-21T10:00:00Z".parse().unwrap(),
                }
            })
            .collect()
    }

    #[test]
    fn a_total_counts_at_the_venues_average_until_its_execution_arrives() {
        let all = executions(&[(10, 100), (20, 130)]);
        let total = ReportedTotal { qty: Decimal::from(30), avg_price: Some(Decimal::from(120)) };
        let known = Filled::default().after(total, all[..1].iter());
        assert_eq!(known, Filled { qty: Decimal::from(30), cost: Decimal::from(3_600) });
        assert_eq!(known.after(total, all.iter()), Filled { qty: Decimal::from(30), cost: Decimal::from(3_600) });
    }

    #[test]
    fn a_stale_total_changes_nothing() {
        let known = Filled { qty: Decimal::from(30), cost: Decimal::from(3_600) };
        let stale = ReportedTotal { qty: Decimal::from(10), avg_price: Some(Decimal::from(100)) };
        assert_eq!(known.after(stale, executions(&[(10, 100)]).iter()), known);
    }

    proptest! {
        #[test]
        fn reports_in_any_order_and_number_come_to_the_same(
            parts in proptest::collection::vec((1_u32..50, 1_u32..500), 1..6),
            seen in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let all = executions(&parts);
            let mut books = BTreeMap::new();
            let mut filled = Filled::default();
            let order = seen.iter().map(|index| index.index(all.len())).chain(0..all.len());
            for n in order {
                let execution = &all[n];
                books.insert(execution.cum_qty, execution.clone());
                let upto = &all[..=n];
                let cost: Decimal = upto.iter().map(|e| e.qty.get() * e.price.get()).sum();
                let total = ReportedTotal { qty: execution.cum_qty, avg_price: Some(cost / execution.cum_qty) };
                let before = filled;
                filled = filled.after(total, books.values());
                prop_assert!(filled.qty >= before.qty);
            }
            let cost: Decimal = all.iter().map(|e| e.qty.get() * e.price.get()).sum();
            prop_assert_eq!(filled, Filled { qty: all[all.len() - 1].cum_qty, cost });
        }
    }
}
