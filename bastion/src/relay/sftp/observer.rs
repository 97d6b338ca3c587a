//! Requests matched with their answers.

use super::{
    Change,
    framer::{Framer, Part, Side},
    packet::{
        ATTRS, Ask, DATA, EOF, FLAG_CREATE, FLAG_EXCLUSIVE, FLAG_TRUNCATE, FLAG_WRITE, Fields,
        HANDLE, STATUS, request,
    },
    tally::{OpenFile, Tally},
};
use crate::relay::closing::Evidence;
use bastion_core::limits::{
    SFTP_FILES_MAX, SFTP_HANDLE_BYTES_MAX, SFTP_PATH_BYTES_MAX, SFTP_REQUESTS_MAX, SFTP_SIZES_MAX,
};
use std::collections::{HashMap, VecDeque};

/// Follows one sftp session.
pub(in crate::relay) struct Observer {
    up: Framer,
    down: Framer,
    state: State,
}

impl Default for Observer {
    fn default() -> Self {
        let (up, down) = (Framer::of(Side::Operator), Framer::of(Side::Vm));
        Self { up, down, state: State::default() }
    }
}

#[derive(Default)]
struct State {
    waiting: HashMap<u32, Request>,
    files: HashMap<Vec<u8>, OpenFile>,
    /// Sizes that the VM told of paths, the latest last: clients ask before they read.
    sizes: VecDeque<(String, u64)>,
    /// The file whose data is passing, per direction, and how much of it is still to come.
    writing: Option<(Vec<u8>, usize)>,
    reading: Option<(Vec<u8>, usize)>,
    told_untracked: bool,
    found: Vec<Evidence>,
}

/// A request that the VM has not answered.
enum Request {
    Open { path: String, flags: u32 },
    Close(Vec<u8>),
    Read { handle: Vec<u8>, offset: u64 },
    Write(Vec<u8>),
    Stat(String),
    Fstat(Vec<u8>),
    Fsetstat { handle: Vec<u8>, size: Option<u64> },
    Change { operation: &'static str, path: String, target: Option<String> },
}

impl Observer {
    /// Bytes from the operator.
    pub(in crate::relay) fn operator_sent(&mut self, data: &[u8]) -> Vec<Evidence> {
        let state = &mut self.state;
        self.up.feed(data, &mut |part| state.request(part));
        std::mem::take(&mut self.state.found)
    }

    /// Bytes from the VM.
    pub(in crate::relay) fn vm_sent(&mut self, data: &[u8]) -> Vec<Evidence> {
        let state = &mut self.state;
        self.down.feed(data, &mut |part| state.answer(part));
        std::mem::take(&mut self.state.found)
    }

    /// The channel is over: files that were never closed.
    pub(in crate::relay) fn finish(&mut self) -> Vec<Evidence> {
        let files = std::mem::take(&mut self.state.files);
        let open = files.into_values().flat_map(|file| file.transfers(false));
        open.map(Evidence::Transferred).collect()
    }
}

impl State {
    fn request(&mut self, part: Part<'_>) {
        match part {
            Part::Head(length, head) => {
                // The VM may act on a request that we cannot read.
                if self.request_head(length, head).is_none() {
                    self.untracked();
                }
            }
            Part::Body(data) => {
                if let Some((handle, left)) = &mut self.writing {
                    let data = passing(left, data);
                    if let Some(file) = self.files.get_mut(handle.as_slice()) {
                        file.upload.add(data);
                    }
                }
            }
            Part::End => self.writing = None,
            Part::Skipped => self.untracked(),
        }
    }

    fn request_head(&mut self, length: usize, head: &[u8]) -> Option<()> {
        let (id, ask) = request(length, head)?;
        let request = match ask {
            Ask::Open { path, flags } => Request::Open { path: text(path), flags },
            Ask::Close(name) => Request::Close(self.close(name)),
            Ask::Read { handle: name, offset } => Request::Read { handle: handle(name)?, offset },
            Ask::Write { handle: name, offset, length } => {
                Request::Write(self.write(name, offset, length)?)
            }
            Ask::Stat(path) => Request::Stat(text(path)),
            Ask::Fstat(name) => Request::Fstat(handle(name)?),
            Ask::Fsetstat { handle: name, size } => {
                Request::Fsetstat { handle: handle(name)?, size }
            }
            Ask::Copy { from, to } => self.copy(from, to),
            Ask::Change { operation, path, target } => {
                Request::Change { operation, path: text(path), target: target.map(text) }
            }
            // What it did we cannot say.
            Ask::Unknown(_) => return None,
            Ask::Init | Ask::Look | Ask::Fsync(_) => return Some(()),
        };
        self.wait(id, request);
        Some(())
    }

    fn copy(&mut self, from: &[u8], to: &[u8]) -> Request {
        // Bytes come into that file that never pass here.
        if let Some(file) = self.files.get_mut(to) {
            file.upload.lose();
        }
        let (path, target) = (self.path_of(from), Some(self.path_of(to)));
        Request::Change { operation: "copy", path, target }
    }

    fn close(&mut self, name: &[u8]) -> Vec<u8> {
        if let Some(file) = self.files.get_mut(name) {
            file.closing = true;
        }
        // Too long a handle belongs to no file that is followed; its close finds none.
        handle(name).unwrap_or_default()
    }

    fn write(&mut self, name: &[u8], offset: u64, length: usize) -> Option<Vec<u8>> {
        let name = handle(name)?;
        if let Some(file) = self.files.get_mut(&name).filter(|file| !file.closing) {
            file.upload.at(offset);
            self.writing = Some((name.clone(), length));
        }
        Some(name)
    }

    /// Remembers a request. One too many, or one that takes another's number, is not followed.
    fn wait(&mut self, id: u32, request: Request) {
        if self.waiting.len() >= SFTP_REQUESTS_MAX && !self.waiting.contains_key(&id) {
            self.lose(&request);
            self.untracked();
        } else if let Some(replaced) = self.waiting.insert(id, request) {
            self.lose(&replaced);
            self.untracked();
        }
    }

    fn lose(&mut self, request: &Request) {
        let (Request::Read { handle, .. } | Request::Write(handle)) = request else { return };
        if let Some(file) = self.files.get_mut(handle) {
            file.upload.lose();
            file.download.lose();
        }
    }

    fn untracked(&mut self) {
        if !std::mem::replace(&mut self.told_untracked, true) {
            self.change("untracked", (String::new(), None), 0);
        }
    }

    fn answer(&mut self, part: Part<'_>) {
        match part {
            Part::Head(_, head) => {
                self.answer_head(head);
            }
            Part::Body(data) => {
                if let Some((handle, left)) = &mut self.reading {
                    let data = passing(left, data);
                    if let Some(file) = self.files.get_mut(handle.as_slice()) {
                        file.download.add(data);
                    }
                }
            }
            Part::End => self.reading = None,
            // Which request it answers, nobody knows.
            Part::Skipped => self.untracked(),
        }
    }

    fn answer_head(&mut self, head: &[u8]) -> Option<()> {
        let mut fields = Fields(head);
        let kind = fields.byte()?;
        let request = self.waiting.remove(&fields.number()?)?;
        match (kind, request) {
            (STATUS, request) => self.status(request, fields.number()?),
            (HANDLE, Request::Open { path, flags }) => {
                self.opened(handle(fields.string()?)?, path, flags);
            }
            (DATA, Request::Read { handle, offset }) => {
                let length = usize::try_from(fields.number()?).ok()?;
                if let Some(file) = self.files.get_mut(&handle) {
                    file.download.at(offset);
                    self.reading = Some((handle, length));
                }
            }
            (ATTRS, Request::Stat(path)) => self.sized(path, fields.attributes()??),
            (ATTRS, Request::Fstat(handle)) => {
                let size = fields.attributes()??;
                self.files.get_mut(&handle)?.size = Some(size);
            }
            _ => {}
        }
        Some(())
    }

    fn status(&mut self, request: Request, status: u32) {
        match request {
            Request::Close(handle) => {
                if let Some(file) = self.files.remove(&handle) {
                    self.found.extend(file.transfers(status == 0).map(Evidence::Transferred));
                }
            }
            Request::Read { handle, offset } => {
                if let Some(file) = self.files.get_mut(&handle) {
                    let tally = &mut file.download;
                    match status {
                        EOF => {
                            tally.touched = true;
                            tally.saw_end |= offset >= tally.end();
                        }
                        _ => tally.fail(status),
                    }
                }
            }
            Request::Write(handle) => {
                if let Some(file) = self.files.get_mut(&handle).filter(|_| status != 0) {
                    file.upload.fail(status);
                }
            }
            Request::Open { path, .. } => self.change("open", (path, None), status),
            Request::Change { operation, path, target } => {
                self.change(operation, (path, target), status);
            }
            Request::Fsetstat { handle, size } => {
                if let Some(file) = self.files.get_mut(&handle).filter(|_| status == 0) {
                    file.cut_at = size.or(file.cut_at);
                }
                let path = self.path_of(&handle);
                self.change("setstat", (path, None), status);
            }
            Request::Stat(_) | Request::Fstat(_) => {}
        }
    }

    fn opened(&mut self, handle: Vec<u8>, path: String, flags: u32) {
        if self.files.len() >= SFTP_FILES_MAX {
            self.untracked();
            return;
        }
        let writes = flags & FLAG_WRITE != 0;
        let creates = flags & FLAG_CREATE != 0 && flags & FLAG_EXCLUSIVE != 0;
        let size = self.sizes.iter().rev().find(|(of, _)| *of == path).map(|(_, size)| *size);
        let file = OpenFile {
            starts_empty: writes && (flags & FLAG_TRUNCATE != 0 || creates),
            path,
            may_make: flags & (FLAG_CREATE | FLAG_TRUNCATE) != 0,
            upload: Tally::new(),
            download: Tally::new(),
            size: size.filter(|_| !writes),
            cut_at: None,
            closing: false,
        };
        self.files.insert(handle, file);
    }

    fn sized(&mut self, path: String, size: u64) {
        self.sizes.retain(|(of, _)| *of != path);
        if self.sizes.len() >= SFTP_SIZES_MAX {
            self.sizes.pop_front();
        }
        self.sizes.push_back((path, size));
    }

    fn change(
        &mut self,
        operation: &'static str,
        (path, target): (String, Option<String>),
        status: u32,
    ) {
        let status = u64::from(status);
        self.found.push(Evidence::Changed(Change { operation, path, target, status }));
    }

    fn path_of(&self, handle: &[u8]) -> String {
        self.files.get(handle).map(|file| file.path.clone()).unwrap_or_default()
    }
}

/// What of a packet's body is a file's data: a packet may be longer than what it carries.
fn passing<'a>(left: &mut usize, body: &'a [u8]) -> &'a [u8] {
    let data = &body[..body.len().min(*left)];
    *left -= data.len();
    data
}

fn handle(bytes: &[u8]) -> Option<Vec<u8>> {
    (bytes.len() <= SFTP_HANDLE_BYTES_MAX).then(|| bytes.to_vec())
}

/// A path as text. What is not UTF-8, or too long, is marked as such.
pub(super) fn text(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SFTP_PATH_BYTES_MAX)];
    let mut path = String::from_utf8_lossy(shown).into_owned();
    if shown.len() < bytes.len() {
        path.push('…');
    }
    path
}
