//! The folder in which the suite runs. It has the layout of DataFusion's repository, because the test files name their data
//! by relative paths such as `../core/tests/data/1.csv`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use datafusion_sqllogictest::read_dir_recursive;
use serde::Deserialize;

/// The manifest of this crate.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

/// The folder in which the test files are run, relative to the root of DataFusion's repository.
const HOME: &str = "datafusion/sqllogictest";

/// The folder of the test files, relative to [`HOME`].
pub(crate) const TEST_FILES: &str = "test_files";

/// Folders that crates ship: the crate, the folder in it, and its place in DataFusion's repository.
const SHIPPED: [(&str, &str, &str); 3] = [
    ("datafusion-sqllogictest", "test_files", "datafusion/sqllogictest/test_files"),
    ("datafusion-sqllogictest", "data", "datafusion/sqllogictest/data"),
    ("datafusion-datasource-arrow", "tests/data", "datafusion/datasource-arrow/tests/data"),
];

/// Folders that only a checkout of DataFusion with its submodules has.
const IN_CHECKOUT: [&str; 4] =
    ["datafusion/core/tests/data", "datafusion/core/tests/tpch-csv", "testing/data", "parquet-testing/data"];

/// The folder in which the suite runs.
pub(crate) struct Workspace {
    root: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

impl Workspace {
    /// Makes the folder anew, below the folder of the build, from the crates that cargo fetched. `checkout` is a checkout
    /// of DataFusion, which has data that no crate ships.
    pub(crate) fn make(checkout: Option<&Path>) -> Result<Self> {
        let root = build_folder()?.join("datafusion-suite");
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("cannot remove the last run's {}", root.display()))?;
        }
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        // Without links in it, as it is compared with paths in results.
        let root = root.canonicalize()?;
        let packages = packages()?;
        for (name, folder, place) in SHIPPED {
            let package = packages.iter().find(|package| package.name == name);
            let package = package.with_context(|| format!("cargo metadata does not list the crate {name}"))?;
            let from = package.manifest_path.parent().unwrap_or(Path::new("")).join(folder);
            copy_folder(&from, &root.join(place))?;
        }
        if let Some(checkout) = checkout {
            let has = |place: &&str| checkout.join(*place).is_dir();
            let places: Vec<&str> = IN_CHECKOUT.into_iter().filter(has).collect();
            let what = checkout.display();
            ensure!(!places.is_empty(), "{what} is no checkout of DataFusion: it has none of {IN_CHECKOUT:?}");
            for place in places {
                copy_folder(&checkout.join(place), &root.join(place))?;
            }
        }
        Ok(Self { root })
    }

    /// The root of the layout, without the slash at its beginning. Results name it `WORKSPACE_ROOT`.
    pub(crate) fn root_in_results(&self) -> String {
        self.root.display().to_string().trim_start_matches('/').to_owned()
    }

    /// The folder in which all processes run.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.join(HOME)
    }

    /// A new folder beside those of DataFusion's repository.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// The test files, relative to [`TEST_FILES`], in order.
    pub(crate) fn test_files(&self) -> Result<Vec<PathBuf>> {
        let folder = self.home().join(TEST_FILES);
        let mut files = Vec::new();
        for path in read_dir_recursive(&folder)? {
            if path.extension() == Some(OsStr::new("slt")) {
                files.push(path.strip_prefix(&folder)?.to_owned());
            }
        }
        files.sort();
        Ok(files)
    }
}

/// The folder of the programs that cargo built, such as `target/debug`.
pub(crate) fn programs() -> Result<PathBuf> {
    let program = env::current_exe().context("cannot find the path of this program")?;
    program.parent().map(Path::to_owned).context("this program has no folder")
}

fn build_folder() -> Result<PathBuf> {
    let programs = programs()?;
    programs.parent().map(Path::to_owned).with_context(|| format!("{} has no parent", programs.display()))
}

/// The packages of this crate's build.
fn packages() -> Result<Vec<Package>> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let host = output(Command::new(rustc).args(["--print", "host-tuple"]))?;
    let host = String::from_utf8(host)?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = output(Command::new(cargo).args([
        "metadata",
        "--format-version=1",
        "--offline",
        "--locked",
        "--filter-platform",
        host.trim(),
        "--manifest-path",
        MANIFEST,
    ]))?;
    let metadata: Metadata = serde_json::from_slice(&metadata).context("cannot read the output of cargo metadata")?;
    Ok(metadata.packages)
}

/// The standard output of a command that must succeed.
fn output(command: &mut Command) -> Result<Vec<u8>> {
    let done = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !done.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(done.stdout)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for path in read_dir_recursive(from)? {
        let copy = to.join(path.strip_prefix(from)?);
        fs::create_dir_all(copy.parent().unwrap_or(to))?;
        // The copies are written to, and a crate's own files may be read-only: so their bytes, without their permissions.
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        fs::write(&copy, bytes).with_context(|| format!("cannot write {}", copy.display()))?;
    }
    Ok(())
}
