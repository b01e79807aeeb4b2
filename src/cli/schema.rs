use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;

use vostro_rabbitmq::Topology;

use vostro_schema::contract::{self, Contract};
use vostro_schema::stitch::{Engine, sdl};
use vostro_schema::{errors_page, reference};

use super::output;
use crate::graphql;
use crate::{app, asyncapi};

#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// Write the committed files that follow from the code: GraphQL and event schemas, broker definitions, event map.
    Generate {
        /// The project's root folder.
        #[arg(long, default_value = ".", value_name = "FOLDER")]
        root: PathBuf,
    },
}

pub fn run(command: &SchemaCommand) -> anyhow::Result<bool> {
    let SchemaCommand::Generate { root } = command;
    generate(root)?;
    output::text("Written: schema/sdl, events/schemas, rabbitmq/definitions.json, docs.");
    let composed = std::fs::read_to_string(supergraph(root))?;
    match sdl::check_fresh(&composed, &graphql::subgraph_sdls()) {
        Ok(()) => Ok(true),
        Err(stale) => {
            output::text(&format!("{stale}; then run this again, as the documentation follows from it."));
            Ok(false)
        }
    }
}

fn supergraph(root: &Path) -> PathBuf {
    root.join("schema/sdl/supergraph.graphql")
}

fn generate(root: &Path) -> anyhow::Result<()> {
    for (module, sdl) in graphql::subgraph_sdls() {
        write(&root.join("schema/sdl").join(format!("{module}.graphql")), &sdl)?;
    }
    for event in vostro_events::catalog() {
        write(&root.join("events/schemas").join(format!("{}.json", event.event_type)), &event.schema_text())?;
    }
    let topology = Topology::of(&app::manifests())?;
    write(&root.join("rabbitmq/definitions.json"), &topology.definitions("vostro"))?;
    for (module, document) in asyncapi::documents(&app::manifests()) {
        write(&root.join("docs/asyncapi").join(format!("{module}.json")), &document)?;
    }
    write(&root.join("docs/events.md"), &event_page())?;
    let supergraph = std::fs::read_to_string(supergraph(root))?;
    let engine = Engine::over(&supergraph)?.build()?;
    for contract in Contract::ALL {
        let file = root.join("schema/sdl").join(sdl::API).join(format!("{}.graphql", contract.as_str()));
        write(&file, &contract::sdl(engine.planner().api_schema(), contract))?;
    }
    write(&root.join("docs/errors.md"), &errors_page::page(&supergraph))?;
    write(&root.join("docs/graphql-api.md"), &reference::page(engine.planner().api_schema()))?;
    Ok(())
}

fn event_page() -> String {
    let flow = vostro_rabbitmq::topology::event_flow(&app::manifests());
    format!(
        "# Who tells whom\n\n\
         Which module publishes which event, and through which queue others hear it. Generated from the modules' manifests by\n\
         `make gen`; the fields of each event are in [events/schemas](../events/schemas), and the same in a form that tools read is\n\
         each module's AsyncAPI document in [asyncapi](asyncapi).\n\n\
         ```mermaid\n{}\n```\n",
        flow.trim_end()
    )
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
