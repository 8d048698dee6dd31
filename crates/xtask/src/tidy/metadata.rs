//! What `cargo metadata` says, reduced to what the rules ask.
//!
//! Owns the reading of cargo's JSON; a field that is missing is an error, never a silent default,
//! because a rule that sees nothing finds nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::failure::Failure;

/// The packages of the resolved graph and how they depend on each other.
#[derive(Debug)]
pub(crate) struct Metadata {
    packages: BTreeMap<String, Package>,
    /// Ids of the packages of this workspace.
    members: BTreeSet<String>,
    /// Who depends on whom in the resolved graph, by id.
    links: BTreeMap<String, Vec<Link>>,
}

/// One package of the resolved graph.
#[derive(Debug)]
pub(crate) struct Package {
    /// The name in its manifest.
    pub(crate) name: String,
    /// The exact version.
    pub(crate) version: String,
    /// The licence expression, if the manifest has one.
    pub(crate) licence: Option<String>,
    /// What its manifest asks for: names and kinds, on all platforms.
    pub(crate) declared: Vec<(String, Kind)>,
}

/// Why a package depends on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// To be linked.
    Normal,
    /// To run its build script.
    Build,
    /// To be tested.
    Dev,
}

#[derive(Debug)]
struct Link {
    to: String,
    kinds: Vec<Kind>,
}

impl Metadata {
    /// Reads the output of `cargo metadata --format-version 1`.
    ///
    /// # Errors
    /// When a field is missing or of another type than cargo documents.
    pub(crate) fn parse(json: &Value) -> Result<Self, Failure> {
        let mut packages = BTreeMap::new();
        for package in array(json, "packages")? {
            packages.insert(string(package, "id")?, Package::parse(package)?);
        }
        let mut members = BTreeSet::new();
        for member in array(json, "workspace_members")? {
            members.insert(member.as_str().ok_or_else(|| missing("workspace_members"))?.to_owned());
        }
        let mut links = BTreeMap::new();
        for node in array(&json["resolve"], "nodes")? {
            let deps = array(node, "deps")?.iter().map(Link::parse).collect::<Result<_, _>>()?;
            links.insert(string(node, "id")?, deps);
        }
        packages.retain(|id, _| links.contains_key(id));
        Ok(Self { packages, members, links })
    }

    /// Every package of the resolved graph.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// The packages of this workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().filter_map(|id| self.packages.get(id))
    }

    /// Whether a package of this workspace has this name.
    pub(crate) fn is_member(&self, name: &str) -> bool {
        self.members().any(|member| member.name == name)
    }

    /// Every package reached from the members that `from` accepts, over links of `kinds`, with the
    /// name and version of one package that asks for it; the members themselves have none.
    pub(crate) fn reach(
        &self,
        from: impl Fn(&Package) -> bool,
        kinds: &[Kind],
    ) -> Vec<(&Package, Option<&Package>)> {
        let starts = self.members.iter().filter(|id| self.packages.get(*id).is_some_and(&from));
        let mut seen: BTreeSet<&str> = starts.map(String::as_str).collect();
        let mut reached: Vec<(&str, Option<&Package>)> =
            seen.iter().map(|id| (*id, None)).collect();
        let mut next = 0;
        while let Some(&(id, _)) = reached.get(next) {
            next += 1;
            for link in self.links.get(id).into_iter().flatten() {
                let wanted = link.kinds.iter().any(|kind| kinds.contains(kind));
                if wanted && seen.insert(&link.to) {
                    reached.push((&link.to, self.packages.get(id)));
                }
            }
        }
        reached.into_iter().filter_map(|(id, by)| Some((self.packages.get(id)?, by))).collect()
    }
}

impl Package {
    fn parse(json: &Value) -> Result<Self, Failure> {
        let mut declared = Vec::new();
        for dependency in array(json, "dependencies")? {
            declared.push((string(dependency, "name")?, Kind::parse(&dependency["kind"])?));
        }
        Ok(Self {
            name: string(json, "name")?,
            version: string(json, "version")?,
            licence: json["license"].as_str().map(str::to_owned),
            declared,
        })
    }
}

impl Kind {
    fn parse(json: &Value) -> Result<Self, Failure> {
        match json.as_str() {
            None if json.is_null() => Ok(Self::Normal),
            Some("build") => Ok(Self::Build),
            Some("dev") => Ok(Self::Dev),
            _ => Err(missing("kind")),
        }
    }
}

impl Link {
    fn parse(json: &Value) -> Result<Self, Failure> {
        let kinds = array(json, "dep_kinds")?
            .iter()
            .map(|kind| Kind::parse(&kind["kind"]))
            .collect::<Result<_, _>>()?;
        Ok(Self { to: string(json, "pkg")?, kinds })
    }
}

fn array<'json>(json: &'json Value, field: &str) -> Result<&'json [Value], Failure> {
    json[field].as_array().map(Vec::as_slice).ok_or_else(|| missing(field))
}

fn string(json: &Value, field: &str) -> Result<String, Failure> {
    json[field].as_str().map(str::to_owned).ok_or_else(|| missing(field))
}

fn missing(field: &str) -> Failure {
    Failure::new(format!("cargo metadata: field {field:?} is missing or of an unknown form"))
}

#[cfg(test)]
pub(super) mod sample {
    //! Small graphs for the tests of the rules.

    use serde_json::json;

    use super::*;

    /// A package as (`name version`, licence, links as (`name version`, kind)).
    type Sample<'text> = (&'text str, &'text str, &'text [(&'text str, Kind)]);

    /// A graph of packages. Names that begin with `trunkline-` or `xtask` are members of the workspace.
    pub(crate) fn graph(packages: &[Sample<'_>]) -> Metadata {
        let word = |kind: Kind| match kind {
            Kind::Normal => Value::Null,
            Kind::Build => json!("build"),
            Kind::Dev => json!("dev"),
        };
        let name = |id: &str| id.split(' ').next().unwrap().to_owned();
        let mut json = json!({"packages": [], "workspace_members": [], "resolve": {"nodes": []}});
        let mut push =
            |at: &str, value| json.pointer_mut(at).unwrap().as_array_mut().unwrap().push(value);
        for (id, licence, links) in packages {
            let declared: Vec<Value> = links
                .iter()
                .map(|(to, kind)| json!({"name": name(to), "kind": word(*kind)}))
                .collect();
            let version = id.split(' ').nth(1).unwrap();
            let package = json!({"id": id, "name": name(id), "version": version,
                "license": licence, "dependencies": declared});
            push("/packages", package);
            let deps: Vec<Value> = links
                .iter()
                .map(|(to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": word(*kind)}]}))
                .collect();
            push("/resolve/nodes", json!({"id": id, "deps": deps}));
            if name(id).starts_with("trunkline-") || name(id) == "xtask" {
                push("/workspace_members", json!(id));
            }
        }
        Metadata::parse(&json).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::sample::graph;
    use super::*;

    #[test]
    fn reach_follows_only_the_kinds_asked_for() {
        let metadata = graph(&[
            ("trunkline-a 0.1.0", "MIT", &[("b 1.0.0", Kind::Normal), ("t 1.0.0", Kind::Dev)]),
            ("b 1.0.0", "MIT", &[("c 1.0.0", Kind::Build)]),
            ("c 1.0.0", "MIT", &[]),
            ("t 1.0.0", "MIT", &[]),
        ]);
        let names = |kinds: &[Kind]| -> Vec<String> {
            let reached = metadata.reach(|_| true, kinds);
            reached.into_iter().map(|(package, _)| package.name.clone()).collect()
        };
        assert_eq!(names(&[Kind::Normal]), ["trunkline-a", "b"]);
        assert_eq!(names(&[Kind::Normal, Kind::Build]), ["trunkline-a", "b", "c"]);
    }

    #[test]
    fn a_missing_field_is_an_error() {
        let json = json!({"packages": [{"id": "a"}], "workspace_members": [], "resolve": null});
        let failure = Metadata::parse(&json).unwrap_err();
        assert!(failure.message.contains("\"dependencies\""), "{}", failure.message);
    }
}
