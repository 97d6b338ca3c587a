//! The disk's own limit: 4 KiB appended to a file, and flushed.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::Instant,
};

/// A file that grows by a page and a flush at a time.
pub struct Base {
    path: PathBuf,
    file: File,
    millis: Vec<f64>,
}

impl Base {
    /// A new one in a folder, on the disk that is asked.
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("base");
        let file = File::create(&path).unwrap();
        Self { path, file, millis: Vec::new() }
    }

    /// Once.
    pub fn append(&mut self) {
        let began = Instant::now();
        self.file.write_all(&[7; 4096]).unwrap();
        self.file.sync_data().unwrap();
        self.millis.push(began.elapsed().as_secs_f64() * 1000.0);
    }

    /// So many times.
    pub fn appends(&mut self, count: usize) {
        (0..count).for_each(|_| self.append());
    }

    /// What each took, in milliseconds.
    pub fn millis(&self) -> &[f64] {
        &self.millis
    }

    /// The median, in milliseconds.
    pub fn median(&self) -> f64 {
        crate::bench::row::percentile(&self.millis, 50.0).unwrap_or(f64::NAN)
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}
