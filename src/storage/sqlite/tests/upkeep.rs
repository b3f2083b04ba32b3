//! `tranche db` on a file: what it finds, and that it finds nothing where nothing is wrong.

use tranche_actors::domain::portfolio::Direction;
use tranche_actors::ports::store::StoreError;

use super::conforms::File;
use crate::storage::conformance::Desk;
use crate::storage::conformance::capital::moves;
use crate::storage::conformance::fixtures::{claim, parent, single, submit, submit_parent};
use crate::storage::sqlite::upkeep::{status, verify};

#[tokio::test]
async fn a_sound_file_has_no_findings_and_whatever_is_wrong_is_named() {
    let place = File::new();
    assert!(matches!(status(place.path()).await, Err(StoreError::Unavailable { .. })));
    let desk = Desk::at(&place).await;
    desk.commit(vec![submit_parent(parent("p", 3)), submit(single("s", 1)), claim("p-0")]).await.unwrap();
    let deposits = ["100", "20"].map(|amount| moves(Direction::Deposit, amount, None));
    desk.commit(deposits.to_vec()).await.unwrap();
    let sound = status(place.path()).await.unwrap();
    assert_eq!((sound.version, sound.findings.len()), (sound.known, 0), "{sound:?}");
    assert!(sound.bytes > 0);
    assert_eq!(verify(place.path()).await.unwrap(), Vec::<String>::new());
    let mut beside = place.beside().await;
    for (wrong, right, named) in [
        (
            "UPDATE accounts SET next_event = 9 WHERE account = 'default'",
            "UPDATE accounts SET next_event = 6 WHERE account = 'default'",
            "have gaps",
        ),
        ("UPDATE parents SET pending_qty = '21'", "UPDATE parents SET pending_qty = '20'", "do not add up"),
        (
            "UPDATE orders SET qty = '11' WHERE client_order_id = 'p-1'",
            "UPDATE orders SET qty = '10'
            WHERE client_order_id = 'p-1'",
            "its slices are 31",
        ),
        (
            "UPDATE orders SET status = 'lost' WHERE client_order_id = 's'",
            "UPDATE orders SET status = 'pending_new' WHERE client_order_id = 's'",
            "lost",
        ),
        (
            "UPDATE portfolio_state SET closed_equity = '119'",
            "UPDATE portfolio_state SET closed_equity = '120'",
            "closed equity is 119, and its ledger sums up to 120",
        ),
        (
            "UPDATE portfolio_state SET net_capital = '0'",
            "UPDATE portfolio_state SET net_capital = '120'",
            "net capital",
        ),
        ("UPDATE portfolio_state SET peak_result = '-1'", "UPDATE portfolio_state SET peak_result = '0'", "its marks"),
        ("UPDATE daily_pnl SET fees = '1'", "UPDATE daily_pnl SET fees = '0'", "the result of 2026-11-23"),
        ("CREATE TABLE more (x)", "DROP TABLE more", "not of this schema: table more"),
        ("CREATE INDEX more ON orders (qty)", "DROP INDEX more", "index more"),
    ] {
        sqlx::query(wrong).execute(&mut beside).await.unwrap();
        let findings = verify(place.path()).await.unwrap();
        assert!(findings.iter().any(|finding| finding.contains(named)), "{wrong}: {findings:?}");
        sqlx::query(right).execute(&mut beside).await.unwrap();
        assert_eq!(verify(place.path()).await.unwrap(), Vec::<String>::new(), "{right}");
    }
}
