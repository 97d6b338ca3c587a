//! Files fetched by the programs that people fetch files with.

use super::timed;
use crate::bench::{
    form::{Distance, Form, Kex, Way},
    options::Plan,
    row::{Limit, Row, interleaved},
    stage::{Stage, host},
};
use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

/// Where fetched files go: in memory, so that the operator's disk is not measured.
const SHELF: &str = "/dev/shm";

/// A program that fetches a file.
struct Program {
    measure: &'static str,
    title: &'static str,
    name: &'static str,
    flags: &'static [&'static str],
}

const PROGRAMS: [Program; 4] = [
    Program { measure: "rsync", title: "rsync", name: "rsync", flags: &["--whole-file"] },
    Program { measure: "scp_o", title: "scp -O", name: "scp", flags: &["-q", "-O"] },
    Program { measure: "scp", title: "scp", name: "scp", flags: &["-q", "-s"] },
    Program { measure: "sftp", title: "sftp", name: "sftp", flags: &["-q"] },
];

impl Program {
    fn command(&self, stage: &Stage, way: Way, from: &str, to: &Path) -> Command {
        let mut command = match self.name {
            // It is told which ssh to use; the others are ssh's own and take its options.
            "rsync" => rsync(stage, way),
            name => stage.program(name, way),
        };
        command.args(self.flags).arg(from).arg(to);
        command
    }
}

fn rsync(stage: &Stage, way: Way) -> Command {
    let mut rsync = Command::new("rsync");
    let shell = format!("ssh -F {}", stage.config(way).display());
    rsync.args(["-e", &shell]).stdin(std::process::Stdio::null());
    rsync
}

/// Megabytes per second of rsync, scp -O, scp and sftp.
pub fn copy(stage: &mut Stage, plan: &Plan) -> Vec<Row> {
    let stage = &*stage;
    let shelf = Path::new(SHELF).join(format!("relay-bench-{}", std::process::id()));
    fs::create_dir_all(&shelf).unwrap();
    let mut rows = Vec::new();
    for distance in plan.distances(&[Distance::Near, Distance::FarOperator]) {
        let way = Way { distance, kex: Kex::Default };
        let mib = match distance {
            Distance::Near => plan.count(1024, 4),
            _ => plan.count(32, 2),
        };
        let rounds = plan.rounds_over(distance).min(3);
        let file = lay_file(stage, mib << 20);
        for program in &PROGRAMS {
            let figures = interleaved(rounds, &Form::ALL, |form| {
                let from = format!("{}:{}", host(form, distance), file.display());
                let to = shelf.join("fetched");
                let mut command = program.command(stage, way, &from, &to);
                let took = stage.at(way, || timed(&mut command))?;
                same(&file, &to)?;
                fs::remove_file(&to).map_err(|why| why.to_string())?;
                super::forget_recordings(stage);
                Ok((mib << 20) as f64 / 1e6 / took.as_secs_f64())
            });
            let title = format!("{}, {mib} MiB down", program.title);
            let row = Row::new(program.measure, &title, way, "MB/s").with(figures);
            let ours = [Form::Ours, Form::OursJump];
            rows.push(match distance {
                Distance::Near => {
                    row.limited(ours.map(|form| Limit::at_least_times(form, 1.2, Form::Jump)))
                }
                _ => row.limited(ours.map(|f| Limit::at_least_times(f, 0.95, Form::Direct))),
            });
        }
        fs::remove_file(&file).unwrap();
    }
    fs::remove_dir_all(&shelf).unwrap();
    rows
}

/// A file of random bytes that the account on the VM can read.
fn lay_file(stage: &Stage, bytes: usize) -> std::path::PathBuf {
    let path = stage.dir().join("file");
    let mut random = fs::File::open("/dev/urandom").unwrap().take(bytes as u64);
    let mut file = fs::File::create(&path).unwrap();
    io::copy(&mut random, &mut file).unwrap();
    file.sync_all().unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path
}

/// Fails unless what was fetched is what was there.
fn same(file: &Path, fetched: &Path) -> Result<(), String> {
    let same = Command::new("cmp").arg("-s").arg(file).arg(fetched).status();
    match same.is_ok_and(|status| status.success()) {
        true => Ok(()),
        false => Err("what was fetched is not what was there".into()),
    }
}
