//! Where two operators are asked for, one alone doesn't release the kill switch.

use tokio::time::sleep;
use tranche_actors::commands::{CommandError, Disengage};
use tranche_actors::domain::audit::AuditAction;
use tranche_actors::domain::kill::{KillMode, KillState};
use tranche_actors::domain::limits::LimitScope;
use tranche_actors::domain::names::Caller;

use crate::support::rig::{Rig, Running, run, seconds};

const WINDOW: u64 = 300;

async fn release(running: &Running, key: &str) -> Result<KillState, CommandError> {
    let by = Caller::parse(key).unwrap().into();
    let release = Disengage { operator: "whoever".to_owned(), notes: None, scope: LimitScope::Global, by };
    running.house.switches.disengage.send(release).await.unwrap().map(|released| released.state)
}

async fn engaged(rig: &mut Rig) -> Running {
    rig.tuning.second_operator = true;
    let running = rig.open().await;
    running.engage(KillMode::Halt).await.unwrap();
    running
}

fn waits(answer: &Result<KillState, CommandError>) -> bool {
    matches!(answer, Err(CommandError::SecondOperator))
}

#[test]
fn a_second_operator_with_another_key_releases_within_five_minutes() {
    run(|mut rig| async move {
        let running = engaged(&mut rig).await;
        assert!(waits(&release(&running, "ann").await));
        assert!(waits(&release(&running, "ann").await), "the same key says nothing new");
        assert!(rig.store.look(|ledger| ledger.switches().kill.unwrap().is_engaged()));
        sleep(seconds(WINDOW - 1)).await;
        assert!(!release(&running, "bob").await.unwrap().is_engaged());
        let actions = rig.store.look(|ledger| ledger.audited().iter().map(|one| one.entry.action).collect::<Vec<_>>());
        let asked = AuditAction::AskToDisengage;
        assert_eq!(actions, [AuditAction::EngageKillSwitch, asked, asked, AuditAction::DisengageKillSwitch]);
    });
}

#[test]
fn a_word_counts_no_longer_and_for_no_other_engagement() {
    run(|mut rig| async move {
        let running = engaged(&mut rig).await;
        assert!(waits(&release(&running, "ann").await));
        sleep(seconds(WINDOW + 1)).await;
        assert!(waits(&release(&running, "bob").await), "it was too long ago");
        release(&running, "ann").await.unwrap();
        running.engage(KillMode::Halt).await.unwrap();
        assert!(waits(&release(&running, "bob").await), "that was another engagement");
        running.engage(KillMode::Cancel).await.unwrap();
        assert!(waits(&release(&running, "carl").await), "that was said of something milder");
        release(&running, "bob").await.unwrap();
        assert!(matches!(release(&running, "ann").await, Err(CommandError::NotEngaged)));
    });
}

#[test]
fn where_the_first_word_can_not_be_read_nothing_is_released() {
    run(|mut rig| async move {
        let running = engaged(&mut rig).await;
        assert!(waits(&release(&running, "ann").await));
        rig.store.calls.fail("switch_history", true);
        let refused = release(&running, "bob").await;
        assert!(matches!(refused, Err(CommandError::StoreUnavailable)), "{refused:?}");
        rig.store.calls.fail("switch_history", false);
        release(&running, "bob").await.unwrap();
    });
}
