//! The layers of the configuration: read from their sources, laid flat, and put on top of each other.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Environment, File, FileFormat, Source, Value, ValueKind};

use super::Fault;
use super::raw::Raw;

/// The bottom layer, so that the program runs from any folder.
const BASE: &str = include_str!("../../config/base.toml");
/// The environments that come with the program.
const ENVIRONMENTS: [(&str, &str); 2] =
    [("local", include_str!("../../config/local.toml")), ("production", include_str!("../../config/production.toml"))];

/// The variables of Alpaca's own SDKs, and the keys that they stand for where these are not set themselves.
const ALIASES: [(&str, &str); 4] = [
    ("APCA_API_KEY_ID", "broker.alpaca.key_id"),
    ("APCA_API_SECRET_KEY", "broker.alpaca.secret_key"),
    ("APCA_API_BASE_URL", "broker.alpaca.base_url"),
    ("APCA_API_DATA_URL", "broker.alpaca.data_url"),
];

/// Where settings come from, so that a test can give all of it.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Variables of the process; only those that begin with `TRANCHE_` matter, and those of Alpaca's SDKs.
    pub variables: BTreeMap<String, String>,
    /// The folder with `base.toml` and a file for each environment; a missing file is as good as none.
    pub folder: PathBuf,
    /// One more file, above the environment's.
    pub file: Option<PathBuf>,
    /// Keys and values from the command line, above everything else.
    pub flags: Vec<(String, String)>,
}

impl Inputs {
    /// The variables of this process and the folder `config` where it runs.
    #[must_use]
    pub fn of_this_process() -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .filter(|(name, _)| name.starts_with("TRANCHE_") || ALIASES.iter().any(|(alias, _)| alias == name))
            .collect();
        Self { variables, folder: PathBuf::from("config"), ..Self::default() }
    }

    /// The name of the environment: `local` where nobody says otherwise.
    #[must_use]
    pub fn environment(&self) -> &str {
        match self.variables.get("TRANCHE_ENVIRONMENT") {
            Some(name) if !name.is_empty() => name,
            Some(_) | None => "local",
        }
    }
}

/// The place of a setting: its sections and its name. Symbols have dots, so that one text would not do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(Vec<String>);

impl Key {
    pub(super) fn of(dotted: &str) -> Self {
        Self(dotted.split('.').map(str::to_owned).collect()).normal()
    }

    fn child(&self, name: &str) -> Self {
        let mut path = self.0.clone();
        path.push(name.to_owned());
        Self(path)
    }

    /// Symbols are upper-cased, because variables can't tell.
    fn normal(mut self) -> Self {
        if self.0.first().is_some_and(|section| section == "instruments")
            && let Some(symbol) = self.0.get_mut(1)
        {
            *symbol = symbol.to_ascii_uppercase();
        }
        self
    }

    /// The place of what is known of one symbol.
    pub(super) fn of_symbol(symbol: &str, name: &str) -> Self {
        Self(["instruments", symbol, name].map(str::to_owned).to_vec())
    }

    pub(super) fn segments(&self) -> &[String] {
        &self.0
    }

    /// What is left of the path below a section.
    pub(super) fn below(&self, section: &Self) -> Option<&[String]> {
        self.0.strip_prefix(section.0.as_slice()).filter(|rest| !rest.is_empty())
    }

    /// The spelling of the key as a variable; none where a variable can't spell it.
    pub(super) fn variable(&self) -> Option<String> {
        let plain = |text: &String| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        self.0.iter().all(plain).then(|| format!("TRANCHE__{}", self.0.join("__").to_ascii_uppercase()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            let dot = if i == 0 { "" } else { "." };
            if segment.contains(['.', '/', '-', ' ']) {
                write!(f, "{dot}{segment:?}")?;
            } else {
                write!(f, "{dot}{segment}")?;
            }
        }
        Ok(())
    }
}

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File(String),
    Variable,
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => f.write_str(path),
            Self::Variable => f.write_str("variable"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// A value with the place where it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// All layers on top of each other, and what could not be read.
pub(super) fn overlay(inputs: &Inputs) -> (BTreeMap<Key, Found>, Vec<Fault>) {
    let mut stack = Stack::default();
    stack.toml(BASE, &Origin::Default);
    stack.file_if_there(&inputs.folder.join("base.toml"));
    stack.environment(inputs);
    if let Some(path) = &inputs.file
        && !stack.file_if_there(path)
    {
        stack.unreadable(path, "there is no such file");
    }
    stack.variables(&inputs.variables);
    stack.aliases(&inputs.variables);
    for (key, value) in &inputs.flags {
        stack.put(Key::of(key), Raw::Text(value.clone()), &Origin::Flag);
    }
    (stack.values, stack.faults)
}

/// A file's text on top of what comes with the program.
#[cfg(any(test, fuzzing))]
pub(super) fn overlaid(text: &str) -> (BTreeMap<Key, Found>, Vec<Fault>) {
    let mut stack = Stack::default();
    stack.toml(BASE, &Origin::Default);
    stack.toml(text, &Origin::File("a file".to_owned()));
    (stack.values, stack.faults)
}

#[derive(Default)]
struct Stack {
    values: BTreeMap<Key, Found>,
    faults: Vec<Fault>,
}

impl Stack {
    fn put(&mut self, key: Key, raw: Raw, origin: &Origin) {
        let origin = origin.clone();
        self.values.insert(key, Found { raw, origin });
    }

    fn toml(&mut self, text: &str, origin: &Origin) {
        match File::from_str(text, FileFormat::Toml).collect() {
            Ok(table) => self.table(&Key(Vec::new()), table, origin),
            Err(error) => self.faults.push(Fault::general(format!("{origin} is not TOML: {}", one_line(&error)))),
        }
    }

    /// Whether there is such a file.
    fn file_if_there(&mut self, path: &Path) -> bool {
        match std::fs::read_to_string(path) {
            Ok(text) if text == BASE => self.toml(&text, &Origin::Default),
            Ok(text) => self.toml(&text, &Origin::File(path.display().to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return false,
            Err(error) => self.unreadable(path, &error.to_string()),
        }
        true
    }

    fn unreadable(&mut self, path: &Path, why: &str) {
        self.faults.push(Fault::general(format!("{} can't be read: {why}", path.display())));
    }

    fn environment(&mut self, inputs: &Inputs) {
        let name = inputs.environment();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if !name.bytes().all(plain) {
            let rule = "TRANCHE_ENVIRONMENT must be made of a-z, 0-9, '_' and '-'";
            return self.faults.push(Fault::general(format!("{rule}; got {name:?}")));
        }
        let path = inputs.folder.join(format!("{name}.toml"));
        if self.file_if_there(&path) {
            return;
        }
        match ENVIRONMENTS.iter().find(|(own, _)| *own == name) {
            Some((_, text)) => self.toml(text, &Origin::File(format!("config/{name}.toml"))),
            None => self.unreadable(&path, "TRANCHE_ENVIRONMENT names it, and there is no such file"),
        }
    }

    /// A variable set to nothing counts as not set: that is what a compose file makes of one that nobody gave.
    fn variables(&mut self, variables: &BTreeMap<String, String>) {
        let source = variables.clone().into_iter().collect::<HashMap<_, _>>();
        let environment = Environment::with_prefix("TRANCHE")
            .prefix_separator("__")
            .separator("__")
            .ignore_empty(true)
            .source(Some(source));
        match Source::collect(&environment) {
            Ok(flat) => {
                for (dotted, value) in flat {
                    self.value(Key::of(&dotted), value.kind, &Origin::Variable);
                }
            }
            Err(error) => self.faults.push(Fault::general(format!("variables can't be read: {}", one_line(&error)))),
        }
    }

    /// A setting that some layer gives, by itself or by its file, goes before its alias.
    fn aliases(&mut self, variables: &BTreeMap<String, String>) {
        for (alias, key) in ALIASES {
            let is_set = |key: &str| {
                let found = self.values.get(&Key::of(key));
                found.is_some_and(|found| found.raw.text() != Some(""))
            };
            if let Some(value) = variables.get(alias).filter(|value| !value.is_empty())
                && !is_set(key)
                && !is_set(&format!("{key}_file"))
            {
                self.put(Key::of(key), Raw::Text(value.clone()), &Origin::Variable);
            }
        }
    }

    fn table(&mut self, section: &Key, table: config::Map<String, Value>, origin: &Origin) {
        for (name, value) in table {
            self.value(section.child(&name).normal(), value.kind, origin);
        }
    }

    fn value(&mut self, key: Key, kind: ValueKind, origin: &Origin) {
        match kind {
            ValueKind::Table(table) if !table.is_empty() => self.table(&key, table, origin),
            ValueKind::Table(_) => self.put(key, Raw::EmptySection, origin),
            ValueKind::Nil
            | ValueKind::Boolean(_)
            | ValueKind::I64(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::String(_)
            | ValueKind::Array(_) => self.put(key, Raw::of(kind), origin),
        }
    }
}

fn one_line(error: &config::ConfigError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
