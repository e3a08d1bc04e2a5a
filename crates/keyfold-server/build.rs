//! Puts the built web page into the program: `OUT_DIR/page_files.rs` is a list of the files of `frontend/dist`, each
//! with its packed forms. Without that folder the list is empty, and `/` says how to get the page.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../frontend/dist");
    // A folder that is not there counts as changed at every build, so it is made. Where it cannot be, that is the price.
    let _ = fs::create_dir_all(&dist);
    println!("cargo:rerun-if-changed={}", dist.display());
    println!("cargo:rerun-if-changed=build.rs");
    let mut list = String::from("&[\n");
    let mut files = vec![];
    if dist.join("index.html").is_file() {
        find(&dist, &mut files)?;
    }
    files.sort();
    for file in files {
        write_file(&mut list, &dist, &file);
    }
    list.push_str("]\n");
    fs::write(out_dir()?.join("page_files.rs"), list)
}

#[expect(clippy::disallowed_methods, reason = "Cargo's own, and no setting")]
fn out_dir() -> io::Result<PathBuf> {
    Ok(env::var_os("OUT_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?)
}

/// The files in and below this folder. Names that begin with a point are the build's own notes.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden {
            continue;
        }
        if path.is_dir() {
            find(&path, files)?;
        } else if !is_packed(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// `app.js.br` beside `app.js` is a form of it.
fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "br" || end == "gz") && path.with_extension("").is_file()
}

fn write_file(list: &mut String, dist: &Path, file: &Path) {
    let Ok(name) = file.strip_prefix(dist) else { return };
    let packed = |end: &str| {
        let mut path = file.as_os_str().to_owned();
        path.push(end);
        let path = PathBuf::from(path);
        if path.is_file() { format!("Some(include_bytes!({}))", literal(&path)) } else { "None".into() }
    };
    // Writing into a string cannot fail.
    let _ = writeln!(
        list,
        "PageFile {{ path: {}, plain: include_bytes!({}), brotli: {}, gzip: {} }},",
        literal(&Path::new("/").join(name)),
        literal(file),
        packed(".br"),
        packed(".gz"),
    );
}

/// The path as a text of Rust.
fn literal(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}
