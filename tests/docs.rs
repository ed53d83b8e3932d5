//! The documentation is true: every configuration in it is one, every command is understood, every
//! link leads somewhere, every key has its name, and both languages show the same commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use turnwire::auth::{RestDigest, Secret, mint_password};
use turnwire::config::{known_keys, parse};

/// A page, with its place below the root of the repository.
struct Page {
    path: PathBuf,
    text: String,
}

/// A block of code: the word behind the fence, its first line's number, and what is in it.
struct Block<'a> {
    kind: &'a str,
    line: usize,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<Page> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("docs"), PathBuf::from("tests/interop"), PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if path.starts_with("docs") && root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(root().join(&path)).unwrap();
                found.push(Page { path, text });
            }
        }
    }
    assert!(found.len() > 10, "the documentation is not where it was");
    found
}

impl Page {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn blocks(&self) -> Vec<Block<'_>> {
        let mut found: Vec<Block<'_>> = Vec::new();
        let mut open = false;
        for (number, line) in (1..).zip(self.text.lines()) {
            if let Some(kind) = line.trim_start().strip_prefix("```") {
                open = !open;
                if open {
                    found.push(Block { kind, line: number + 1, text: String::new() });
                }
            } else if open {
                let block = found.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
        }
        assert!(!open, "{}: a block without an end", self.name());
        found
    }

    /// The text without its blocks, so that every line keeps its number.
    fn prose(&self) -> String {
        let mut inside = false;
        let lines = self.text.lines().map(|line| {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            if fence || inside { "" } else { line }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What stands in single backquotes.
    fn spans(&self) -> Vec<String> {
        let prose = self.prose();
        prose.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
    }
}

#[test]
fn every_configuration_is_one() {
    let mut read = 0;
    for page in pages() {
        for block in page.blocks() {
            let name = format!("{}:{}", page.name(), block.line);
            let text = match block.kind {
                "toml" => block.text,
                "sh" => match block.text.split_once("<<END\n") {
                    Some((_, rest)) => rest.split_once("\nEND\n").expect(&name).0.to_owned(),
                    None => continue,
                },
                _ => continue,
            };
            parse(&text, &name).unwrap_or_else(|problems| panic!("{problems}"));
            read += 1;
        }
    }
    assert!(read > 15, "{read}");
}

/// The program reads its arguments up to `--help`, and says what it does not know.
#[test]
fn every_command_is_understood() {
    let mut asked = BTreeMap::new();
    for page in pages() {
        let shell = page.blocks().into_iter().filter(|block| block.kind == "sh");
        let said = shell.map(|block| block.text).chain(page.spans());
        for line in said.flat_map(|said| commands(&said)) {
            let line = line.trim().strip_prefix("sudo ").unwrap_or(line.trim()).to_owned();
            if line.starts_with("turnwire ") {
                asked.entry(line).or_insert_with(|| page.name());
            }
        }
    }
    assert!(asked.len() > 25, "{asked:?}");
    let mut wrong = Vec::new();
    for (line, page) in asked {
        // Of alternatives the first one, which is followed by what all of them have.
        let words = line.split_whitespace().skip(1).map(|word| match word.split_once('|') {
            Some((first, _)) => first,
            None if word == "URI" => "turn:turn.example.org",
            None => word.trim_matches(['\'', '"']),
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnwire"));
        let said = command.args(words.take_while(|word| *word != "...")).arg("--help").output();
        let said = said.unwrap();
        if !said.status.success() {
            wrong.push(format!("{page}: {line}: {}", String::from_utf8_lossy(&said.stderr)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The commands of a shell script, without comments and what they are redirected to.
fn commands(script: &str) -> Vec<String> {
    let script = script.replace("\\\n", " ");
    let lines = script.lines().map(|line| line.split(" # ").next().unwrap_or(line));
    let mut found = Vec::new();
    for line in lines.flat_map(|line| line.split(" && ").flat_map(|part| part.split(" | "))) {
        let end = line.find([';', '>', '<']).unwrap_or(line.len());
        found.push(line[..end].trim_end_matches(['&', ' ']).to_owned());
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors: BTreeMap<PathBuf, BTreeSet<String>> =
        pages.iter().map(|page| (page.path.clone(), anchors(page))).collect();
    let mut reached = BTreeSet::from([PathBuf::from("README.md")]);
    for page in &pages {
        let folder = page.path.parent().unwrap();
        for target in targets(&page.prose()) {
            if target.starts_with("https://") || target.starts_with("http://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { page.path.clone() } else { normal(&folder.join(file)) };
            assert!(root().join(&path).exists(), "{} links to {target}", page.name());
            let known = || anchors.get(&path).is_some_and(|known| known.contains(anchor));
            assert!(anchor.is_empty() || known(), "{} links to {target}", page.name());
            reached.insert(path);
        }
    }
    for page in pages.iter().filter(|page| page.path.starts_with("docs")) {
        assert!(reached.contains(&page.path), "nothing links to {}", page.name());
    }
}

fn normal(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        if part.as_os_str() == ".." {
            found.pop();
        } else {
            found.push(part);
        }
    }
    found
}

/// What stands in `](...)`.
fn targets(prose: &str) -> Vec<String> {
    let ends = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(target, _)| target.to_owned()).collect()
}

/// The headings as GitHub makes anchors of them.
fn anchors(page: &Page) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for heading in page.prose().lines().filter(|line| line.starts_with('#')) {
        let title = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        let kept = |c: &char| c.is_alphanumeric() || ['-', '_'].contains(c);
        found.insert(title.chars().filter(kept).collect());
    }
    found
}

#[test]
fn the_keys_that_are_named_are_keys() {
    let keys: BTreeSet<&str> = known_keys().collect();
    let section = |word: &str| keys.iter().any(|key| key.starts_with(&format!("{word}.")));
    let mut named = 0;
    for page in pages() {
        for span in page.spans() {
            let name = span.trim_start_matches('[').split([' ', '=', ']']).next().unwrap_or("");
            let word =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
            let Some((first, _)) = name.split_once('.') else { continue };
            if name.chars().all(word) && section(first) && first != "turnwire" {
                let known = keys.contains(name) || section(name);
                assert!(known || is_no_key(name), "{}: {name}", page.name());
                named += 1;
            }
        }
    }
    assert!(named > 50, "{named}");
}

/// Files and names of hosts that begin as a section does.
fn is_no_key(name: &str) -> bool {
    [".org", ".com", ".toml", ".rs", ".example", ".sock", ".secrets", ".db"]
        .iter()
        .any(|end| name.ends_with(end))
}

#[test]
fn each_dependency_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let built_in: BTreeSet<&str> =
        manifest["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
    let page = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let named: BTreeSet<&str> = rows
        .flat_map(|row| row.split(" | ").next().unwrap().split('`').skip(1).step_by(2))
        .collect();
    assert_eq!(named, built_in, "docs/dependencies.md has a row for each dependency");
}

/// What a core carries is the README's figures turned around: new ones there make new ones here.
#[test]
fn what_a_core_carries_is_worked_out_from_what_is_measured() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let measured: BTreeSet<String> = read("README.md").lines().flat_map(cells).collect();
    let page = read("docs/sizing.md");
    let (_, table) = page.split_once("application bits/s and core |\n|---|---|---|---|\n").unwrap();
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(rows.len() > 4);
    for row in rows {
        assert!(measured.contains(&row[2]), "{} is no figure of the README", row[2]);
        let each: f64 = row[2].parse().unwrap();
        let size = if row[1].contains("160 B") { 160.0 } else { 1200.0 };
        let thousands = (1000.0 / each).round();
        assert_eq!(row[3], format!("{thousands},000"), "{row:?}");
        assert_eq!(row[4], format!("{:.1} Gbit/s", 8.0 * size / each / 1000.0), "{row:?}");
    }
}

#[test]
fn both_languages_show_the_same_commands() {
    let pages = pages();
    let shown = |name: &str| -> Vec<String> {
        let page = pages.iter().find(|page| page.path == Path::new(name)).expect(name);
        let code = page.blocks().into_iter().filter(|block| !block.kind.starts_with("text"));
        let lines =
            code.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>());
        // Comments are told in the reader's language.
        let bare = |line: String| {
            let end = ["  # ", "  // ", "<!--"].iter().filter_map(|mark| line.find(mark)).min();
            line[..end.unwrap_or(line.len())].trim_end().to_owned()
        };
        lines.map(bare).filter(|line| !line.is_empty()).collect()
    };
    let (english, korean) = (shown("docs/quick-start.md"), shown("docs/quick-start.ko.md"));
    assert!(english.len() > 10);
    assert_eq!(english, korean);
}

/// What an application is told to mint with makes what the server asks for.
#[test]
fn the_programs_that_mint_make_good_credentials() {
    let pages = pages();
    let page = pages.iter().find(|page| page.path == Path::new("docs/quick-start.md")).unwrap();
    let program = |kind: &str| {
        let blocks = page.blocks();
        let found = blocks.into_iter().find(|block| block.kind == kind);
        found.expect(kind).text
    };
    let call = "(\"north\", \"alice\", \"turn.example.org\", 60)";
    let python =
        format!("{}\nimport json\nprint(json.dumps(ice_servers{call}))", program("python"));
    let script = format!("{}\nconsole.log(JSON.stringify(iceServers{call}));", program("js"));
    let node = ["--input-type=module", "-e", &script];
    for (interpreter, words) in [("python3", &["-c", &python][..]), ("node", &node)] {
        let mut command = Command::new("env");
        // Where tests/interop/install puts a Node.js when the machine has none.
        let path = std::env::var("PATH").unwrap_or_default();
        let own =
            std::env::var("INTEROP_VENV").map_or(root().join("target/interop-venv"), Into::into);
        command.arg(format!("PATH={path}:{}", own.join("bin").display()));
        let said = command.arg(interpreter).args(words).output().expect("env");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let answer: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let entry = &answer["iceServers"][0];
        let username = entry["username"].as_str().unwrap();
        assert!(username.ends_with(":alice"), "{username}");
        let good = mint_password(RestDigest::Sha1, &Secret::new("north"), username);
        assert_eq!(entry["credential"].as_str(), Some(&*good), "{interpreter}");
        assert_eq!(entry["urls"][0], "stun:turn.example.org:3478");
    }
}

#[test]
fn the_reader_of_pages_sees_what_is_there() {
    let text =
        "# A `b.c` d\n[x](y.md#a-bc-d) `p\nq`\n```sh\ncd x && turnwire check \\\n  u # why\n```\n";
    let page = Page { path: "x.md".into(), text: text.into() };
    assert_eq!(anchors(&page), BTreeSet::from(["a-bc-d".to_owned()]));
    assert_eq!(targets(&page.prose()), ["y.md#a-bc-d"]);
    assert_eq!(page.spans(), ["b.c", "p q"]);
    let [block] = &page.blocks()[..] else { panic!() };
    assert_eq!((block.kind, block.line), ("sh", 5));
    let said: Vec<String> = commands(&block.text);
    assert_eq!(said[0], "cd x");
    assert_eq!(said[1].split_whitespace().collect::<Vec<_>>(), ["turnwire", "check", "u"]);
}
