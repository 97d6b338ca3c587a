//! What `session fetch` gives: a sealed recording and its wrapped keys in one tar archive, which
//! may be larger than memory.

use crate::{
    cli::{Fault, local},
    config::Config,
    relay::recording::{BadRecording, ContainerKey, Found, Header, Section, header, open, unwrap},
    render::tar,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::ExitCode,
};

/// An archive, in a file.
pub struct Archive(File);

/// A sealed recording, and the key that opens it.
pub struct Sealed {
    section: Section,
    key: ContainerKey,
}

impl Archive {
    /// One that lies in a file.
    pub fn of(path: &Path) -> Result<Self, Fault> {
        let opened = File::open(path);
        opened.map(Self).map_err(|cause| Fault::failed(format!("{}: {cause}", path.display())))
    }

    /// One that the gateway gives; or the exit code of the command that did not give it.
    pub fn fetched(config: &Config, named: &str) -> Result<Result<Self, ExitCode>, Fault> {
        let file = nameless().map_err(|cause| {
            Fault::failed(format!("no room for the recording in {TMPDIR}: {cause}"))
        })?;
        let kept = file.try_clone().map_err(Fault::failed)?;
        let words = ["session", "fetch", named].map(str::to_owned).to_vec();
        let mut out = local::LocalOutput::to_file(file);
        let code = crate::cli::runtime()?.block_on(local::run(config, words, &mut out))?;
        Ok(if code == ExitCode::SUCCESS { Ok(Self(kept)) } else { Err(code) })
    }

    /// Finds the recording and unwraps its key.
    pub fn open(mut self, private_key: &str) -> Result<Sealed, Fault> {
        let damaged = || Fault::unverified("not what `session fetch` gives, or damaged on the way");
        let places = tar::places(&mut self.0).map_err(Fault::failed)?.ok_or_else(damaged)?;
        let ending = |end: &str| places.iter().find(|place| place.name.ends_with(end)).cloned();
        let wrapped = ending(".keys.json").filter(|place| place.bytes < KEYS_BYTES_MAX);
        let wrapped = wrapped.ok_or_else(damaged)?;
        let recording = ending(".recording").ok_or_else(damaged)?;
        let mut text = String::new();
        let section = Section::of(self.0, wrapped.range());
        let mut section = section.map_err(|_| damaged())?;
        section.read_to_string(&mut text).map_err(|_| damaged())?;
        let key = unwrap(&text, private_key).map_err(Fault::unverified)?;
        let section = Section::of(section.into_file(), recording.range());
        Ok(Sealed { section: section.map_err(Fault::failed)?, key })
    }
}

impl Sealed {
    /// What its first line says.
    pub fn header(&mut self) -> Result<Header, Fault> {
        self.section.rewind().map_err(Fault::failed)?;
        header(&mut self.section).map_err(Fault::unverified)
    }

    /// Opens it; what is proven goes to `plain`, piece by piece.
    pub fn read(
        &mut self,
        plain: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Found, BadRecording> {
        self.section.rewind()?;
        open(&mut self.section, &self.key, &mut Sink(plain))
    }
}

struct Sink<'a>(&'a mut dyn FnMut(&[u8]) -> io::Result<()>);

impl Write for Sink<'_> {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        (self.0)(plain).map(|()| plain.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file without a name, for sealed bytes: it is gone with the process.
pub fn nameless() -> io::Result<File> {
    let unique = crate::entropy::draw::<8>().map_err(io::Error::other)?;
    let name = unique.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let path = std::env::temp_dir().join(format!("bastion-{name}.tar"));
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

const TMPDIR: &str = "the folder for temporary files (TMPDIR)";

/// Wrapped keys are a few hundred bytes for each recipient.
const KEYS_BYTES_MAX: u64 = 64 << 10;
