//! What the broker's task notes for itself, beside the artifacts that its clients are told: which
//! task elsewhere it is done by, and what an artifact of that says besides its parts.
//!
//! Both are pieces of an artifact of one name and content type. An agent's own artifact of that
//! name has another content type, and is none of them.

use super::recall::LINK;
use crate::wire::{Artifact, Struct};
use serde::{Deserialize, Serialize};
use trunkline_types::{ArtifactChunk, Payload};

/// The content type of notes.
const NOTE: &str = "application/vnd.trunkline.a2a-proxy+json";

/// Whether a piece of an artifact is a note of the broker, which is no client's affair.
pub fn is_note(chunk: &ArtifactChunk) -> bool {
    chunk.name == LINK && chunk.payload.content_type == NOTE
}

/// A note.
pub(super) fn note(said: &impl Serialize) -> Payload {
    Payload::new(NOTE, serde_json::to_vec(said).unwrap_or_default())
}

/// What an artifact says besides its parts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// What it is called at the broker.
    pub(crate) name: String,
    /// What it says, without parts.
    says: Artifact,
}

impl Head {
    /// What an artifact says that is called so at the broker. Its id and its name are said only if
    /// they are others.
    pub(super) fn of(name: &str, artifact: &Artifact) -> Self {
        let mut says = Artifact { parts: Vec::new(), ..artifact.clone() };
        says.metadata = says.metadata.filter(|Struct(fields)| !fields.is_empty());
        // What has no name is shown with its id for one.
        for said in [&mut says.artifact_id, &mut says.name] {
            if said == name {
                said.clear();
            }
        }
        Self { name: name.to_owned(), says }
    }

    /// The head of an artifact that says nothing besides its parts.
    pub(super) fn none(name: &str) -> Self {
        Self { name: name.to_owned(), says: Artifact::default() }
    }

    /// The head that a piece of an artifact notes, if it does.
    pub(crate) fn read(chunk: &ArtifactChunk) -> Option<Self> {
        // A link begins its artifact anew each time.
        if !is_note(chunk) || !chunk.append {
            return None;
        }
        serde_json::from_slice(&chunk.payload.data).ok()
    }

    /// The id of the artifact as clients know it.
    pub(crate) fn id(&self) -> String {
        let id = &self.says.artifact_id;
        if id.is_empty() { self.name.clone() } else { id.clone() }
    }

    /// As it is noted.
    pub(super) fn note(&self) -> Payload {
        note(self)
    }

    /// The head after more pieces of the artifact came with what they say, which may be nothing.
    pub(super) fn continued(&self, more: &Self) -> Self {
        let or = |text: &String, before: &String| {
            if text.is_empty() { before.clone() } else { text.clone() }
        };
        let (before, more) = (&self.says, &more.says);
        let metadata = match (before.metadata.clone(), more.metadata.clone()) {
            (Some(Struct(mut known)), Some(Struct(more))) => {
                known.extend(more);
                Some(Struct(known))
            }
            (known, more) => more.or(known),
        };
        let extensions = if more.extensions.is_empty() { before } else { more }.extensions.clone();
        let says = Artifact {
            artifact_id: or(&more.artifact_id, &before.artifact_id),
            name: or(&more.name, &before.name),
            description: or(&more.description, &before.description),
            parts: Vec::new(),
            metadata,
            extensions,
        };
        Self { name: self.name.clone(), says }
    }

    /// Has an artifact say what the head does.
    pub(crate) fn put_on(&self, artifact: &mut Artifact) {
        let Artifact { artifact_id, name, description, parts: _, metadata, extensions } =
            self.says.clone();
        if !artifact_id.is_empty() {
            artifact.artifact_id = artifact_id;
        }
        artifact.name = if name.is_empty() { artifact.artifact_id.clone() } else { name };
        artifact.description = description;
        (artifact.metadata, artifact.extensions) = (metadata, extensions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn head(said: Value) -> Head {
        let artifact: Artifact = serde_json::from_value(said).unwrap();
        Head::of("a", &artifact)
    }

    #[test]
    fn what_more_pieces_say_is_added_and_what_they_leave_out_stays() {
        let first = head(json!({"artifactId": "a", "name": "Table", "metadata": {"x": 1}}));
        let more = head(json!({"artifactId": "a", "description": "d", "metadata": {"y": 2}}));
        let both = head(json!({"artifactId": "a", "name": "Table", "description": "d",
            "metadata": {"x": 1, "y": 2}}));
        assert_eq!(first.continued(&more), both);
        assert_eq!(both.continued(&head(json!({"artifactId": "a"}))), both);
        let mut shown =
            Artifact { artifact_id: "a".into(), name: "a".into(), ..Artifact::default() };
        both.put_on(&mut shown);
        assert_eq!(shown.artifact_id, "a", "what is called here as there keeps its id");
        assert_eq!((shown.name.as_str(), shown.description.as_str()), ("Table", "d"));
        assert_eq!(
            shown.metadata,
            Some(Struct(json!({"x": 1, "y": 2}).as_object().unwrap().clone()))
        );
    }

    #[test]
    fn an_agents_own_artifact_of_that_name_is_no_note() {
        let chunk = |payload: Payload| ArtifactChunk {
            name: LINK.into(),
            append: true,
            last: false,
            payload,
        };
        let noted = head(json!({"artifactId": "long", "name": "n"}));
        assert_eq!(Head::read(&chunk(noted.note())), Some(noted.clone()));
        let own = Payload::new("application/json", noted.note().data);
        assert!(!is_note(&chunk(own.clone())) && Head::read(&chunk(own)).is_none());
    }
}
