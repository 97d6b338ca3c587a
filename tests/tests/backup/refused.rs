//! What is no backup of ours, or not a whole one, is put back nowhere; and a disk that is full.

use crate::scene::{RECORDING, Scene, entry, put_back};
use bastion::{
    args,
    backup::BackupError,
    keyfile,
    store::{Db, Options},
};
use std::{fs, path::Path, process::Command};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_in_it_is_put_back_nowhere() {
    let scene = Scene::new(None).await;
    let dir = scene.world.dir.clone();
    let (backup, _) = scene.backup("one.backup").await;
    let (_, out, err) = scene.tried(&format!("backup --to {}", backup.display())).await;
    assert!(err.contains("is there already"), "{out}{err}");
    let (_, _, err) = scene.tried("backup --to here").await;
    assert!(err.contains("whole path"), "{err}");
    let (_world, config) = scene.lose().await;
    let whole = fs::read(&backup).expect("reads");
    let changed = dir.join("changed.backup");
    let nowhere = |what: String| {
        assert!(!dir.join("bastion.db").exists(), "{what}");
        let left = fs::read_dir(&dir).expect("a folder").map(|item| item.unwrap().file_name());
        let left: Vec<_> =
            left.filter(|name| name.to_string_lossy().contains("restoring")).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    };
    let places = (0..whole.len()).step_by(whole.len() / 40).chain(whole.len() - 100..whole.len());
    for place in places {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(&changed, bytes).expect("writes");
        let restored = put_back(&config, &changed).await;
        assert!(restored.is_err(), "byte {place} of {} was changed", whole.len());
        nowhere(format!("byte {place}"));
    }
    for length in [0, 1, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&changed, &whole[..length]).expect("writes");
        assert!(put_back(&config, &changed).await.is_err(), "cut to {length}");
        nowhere(format!("cut to {length}"));
    }
    put_back(&config, &backup).await.expect("the whole one is put back");
}

/// Whoever has the provider's public key can seal a file; they cannot sign one.
#[tokio::test(flavor = "multi_thread")]
async fn another_deployments_backup_is_refused() {
    let scene = Scene::new(None).await;
    let (backup, _) = scene.backup("one.backup").await;
    let (world, config) = scene.lose().await;
    let other = Scene::new(None).await;
    let (foreign, _) = other.backup("one.backup").await;
    let error = put_back(&config, &foreign).await.expect_err("another's");
    assert!(matches!(error, BackupError::Signature), "{error}");
    other.app.ledger.close().await;
    // The right key of somebody else opens nothing.
    let (stranger, _) = keyfile::make_recording_pair().expect("a pair");
    let error = bastion::backup::restore(&config, &backup, &stranger).await.expect_err("opened");
    assert!(error.to_string().contains("not sealed for that private key"), "{error}");
    drop(world);
}

/// Erasing a recording reaches a backup that was made before, and that one is still whole.
#[tokio::test(flavor = "multi_thread")]
async fn an_erased_recording_is_forgotten_by_backups() {
    let scene = Scene::new(None).await;
    let (backup, _) = scene.backup("one.backup").await;
    let mark = "erased {\"at\":\"2026-11-24T08:00:00.000000Z\",\"by\":\"of-1\",\"entry\":1}";
    let sql = "SELECT wrapped_json FROM recording_keys WHERE recording = $1";
    let row = scene.app.ledger.db().row_opt(sql, &args![RECORDING]).await.unwrap().unwrap();
    let wrapped = row.text(0).expect("a key");
    assert!(fs::read_to_string(&backup).is_err(), "most of it is sealed");
    let holds = |what: &str| {
        let bytes = fs::read(&backup).unwrap();
        bytes.windows(what.len()).any(|found| found == what.as_bytes())
    };
    assert!(holds(&wrapped));
    let mark = format!("{:<width$}", mark, width = wrapped.len());
    let erased = scene.app.ledger.record("test", move |batch| {
        Box::pin(async move {
            let sql = "UPDATE recording_keys SET wrapped_json = $1 WHERE recording = $2";
            batch.tx().run(sql, &args![mark, RECORDING]).await?;
            batch.append(entry()).await
        })
    });
    erased.await.expect("erases");
    let said = scene.local(&format!("backup --forget {}", backup.display())).await;
    assert!(said.contains("keys of 1 recordings (0 had been before"), "{said}");
    assert!(!holds(&wrapped));
    let said = scene.local(&format!("backup --forget {}", backup.display())).await;
    assert!(said.contains("keys of 0 recordings (1 had been before"), "{said}");
    let (_world, config) = scene.lose().await;
    put_back(&config, &backup).await.expect("is whole without that key");
    let url = config.store.url();
    let db = Db::open(&url, Options::READ_ONLY).await.expect("opens");
    let row = db.row_opt(sql, &args![RECORDING]).await.unwrap().unwrap();
    assert!(row.text(0).unwrap().starts_with("erased "));
    db.close().await;
}

/// As root, on a disk of 16 KiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_nothing_and_is_said() {
    let scene = Scene::new(None).await;
    let small = scene.world.dir.join("small");
    fs::create_dir(&small).expect("a folder");
    let mount = ["-t", "tmpfs", "-o", "size=16k", "small"];
    let mounted = Command::new("mount").args(mount).arg(&small).status().expect("runs");
    assert!(mounted.success(), "needs root");
    let _unmount = Unmount(&small);
    let to = small.join("one.backup");
    let size = *scene.app.ledger.size().borrow();
    let (code, out, err) = scene.tried(&format!("backup --to {}", to.display())).await;
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("no room is left") && err.contains("Make room"), "{err}");
    assert_eq!(fs::read_dir(&small).expect("a folder").count(), 0);
    assert_eq!(*scene.app.ledger.size().borrow(), size, "the log says nothing of it");
    scene.app.ledger.close().await;
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0).status().expect("runs");
    }
}
