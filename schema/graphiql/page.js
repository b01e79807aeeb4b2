// Mounts GraphiQL over this bank. Queries go by HTTP, subscriptions by WebSocket (graphql-transport-ws); both use the
// Authorization header of the headers editor.
"use strict";

const START = `# Welcome to the bank.
#
# 1. Pick an example on the left:
#    become a customer, then log in.
#
# 2. Put the token into the headers:
#    "Bearer <accessToken>"
#
# 3. Ask. Documentation and explorer,
#    on the left, show all there is.

query Me {
  me { id displayName }
}
`;

let authorization;
const endpoint = new URL("graphql", window.location.href);
const socket = new URL(endpoint);
socket.protocol = socket.protocol === "https:" ? "wss:" : "ws:";

const wsClient = graphqlWs.createClient({
  url: socket.href,
  lazy: true,
  connectionParams: () => (authorization ? { authorization } : {}),
});
const send = GraphiQL.createFetcher({ url: endpoint.href, wsClient });

// A header that still waits for its token is left out: without a token the public fields answer.
function isFilled([name, value]) {
  return name.toLowerCase() !== "authorization" || !/^(bearer)?\s*$/i.test(value);
}

function fetcher(request, options) {
  const headers = Object.entries(options?.headers ?? {}).filter(isFilled);
  authorization = headers.find(([name]) => name.toLowerCase() === "authorization")?.[1];
  return send(request, { ...options, headers: Object.fromEntries(headers) });
}

// What the start panel shows comes from the bank: modules, fields, access and cost from its supergraph, and examples.
const modules = fetch("graphiql/modules.json").then((response) => response.json());

function element(type, props, ...children) {
  return React.createElement(type, props, ...children);
}

const AUDIENCES = { customer: "customers", staff: "staff", internal: "everything" };

function chip(kind, text) {
  return element("span", { key: text, className: `vostro-chip vostro-${kind}` }, text);
}

/** Who may ask: roles as people say them. */
function accessChip(access) {
  return chip("access", access.toLowerCase().replaceAll("_", " "));
}

/** A line of the schema's documentation, in which `names` stand out. */
function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? element("code", { key: at }, part) : part));
}

function deprecation(field) {
  return field.deprecated && element("div", { className: "vostro-warning" }, "Deprecated: ", prose(field.deprecated));
}

function points(field) {
  const cost = field.cost === 1 ? "1 point" : `${field.cost} points`;
  return field.size ? `${cost}, ${field.size}` : cost;
}

function rootField(field) {
  return element(
    "li",
    { key: `${field.kind} ${field.name}` },
    element(
      "div",
      { className: "vostro-head" },
      element("strong", { className: field.deprecated ? "vostro-deprecated" : "" }, field.name),
      chip(field.kind, field.kind),
      accessChip(field.access),
      chip("cost", points(field)),
    ),
    deprecation(field),
    element("div", null, prose(field.description)),
    element("code", null, field.signature),
  );
}

function typeField(module, field) {
  return element(
    "li",
    { key: field.signature },
    element(
      "div",
      { className: "vostro-head" },
      element("code", { className: field.deprecated ? "vostro-deprecated" : "" }, field.signature),
      field.access && accessChip(field.access),
      field.cost > 0 && chip("cost", points(field)),
      field.modules.length > 1 && chip("owners", `also ${field.modules.filter((name) => name !== module).join(", ")}`),
    ),
    deprecation(field),
    field.description && element("div", null, prose(field.description)),
  );
}

function objectOf(module, type) {
  const own = type.fields.filter((field) => field.modules.includes(module));
  return element(
    "details",
    { key: type.name },
    element("summary", null, type.name),
    type.description && element("p", null, prose(type.description)),
    element("ul", null, own.map((field) => typeField(module, field))),
  );
}

// What several modules have in common, such as amounts, belongs to none of them.
function ownedBy(module, { fields }) {
  return fields.some(({ modules, signature }) => modules.length === 1 && modules[0] === module && signature !== "id: ID!");
}

function moduleSection(module, shown, audience) {
  const levels = Object.keys(AUDIENCES);
  const visible = (field) => field.module === module && levels.indexOf(field.audience) <= levels.indexOf(audience);
  const fields = shown.fields.filter(visible);
  if (fields.length === 0) return null;
  const types = shown.types.filter((type) => ownedBy(module, type));
  return element(
    "section",
    { key: module },
    element("h2", null, `Module ${module}`),
    element("ul", null, fields.map(rootField)),
    types.length > 0 && element("h3", null, "Its fields of objects"),
    types.map((type) => objectOf(module, type)),
  );
}

function exampleButton(example, editors) {
  const show = () => {
    editors.queryEditor?.setValue(example.document);
    editors.variableEditor?.setValue(example.variables ? JSON.stringify(example.variables, null, 2) : "");
    // GraphiQL looks for the operation's name a moment later, and whoever runs the example at once would ask for another.
    if (editors.queryEditor) editors.queryEditor.operationName = /^\w+ (\w+)/.exec(example.document)?.[1];
  };
  return element("button", { key: example.title, type: "button", onClick: show }, example.title, example.access && accessChip(example.access));
}

function audienceChoice(audience, choose) {
  const choice = ([name, text]) =>
    element("button", { key: name, type: "button", "aria-pressed": name === audience, onClick: () => choose(name) }, text);
  return element("div", { className: "vostro-choice", role: "group", "aria-label": "Show the API for" }, Object.entries(AUDIENCES).map(choice));
}

function ModulesPanel() {
  const editors = GraphiQL.React.useEditorContext({ nonNull: true });
  const [shown, show] = React.useState(null);
  const [audience, choose] = React.useState("internal");
  React.useEffect(() => void modules.then(show), []);
  if (!shown) return element("div", { className: "vostro-modules" }, "Loading …");
  const names = [...new Set(shown.fields.map((field) => field.module))];
  return element(
    "div",
    { className: "vostro-modules" },
    element("h2", null, "Start here"),
    element("div", { className: "vostro-examples" }, shown.examples.map((example) => exampleButton(example, editors))),
    element("h2", null, "The API for"),
    audienceChoice(audience, choose),
    names.map((name) => moduleSection(name, shown, audience)),
  );
}

const modulesPlugin = {
  title: "Modules and examples",
  icon: () => element("svg", { viewBox: "0 0 16 16", fill: "currentColor" }, element("path", { d: "M1 1h6v6H1zM9 1h6v6H9zM1 9h6v6H1zM9 9h6v6H9z" })),
  content: ModulesPanel,
};

const explorer = GraphiQLPluginExplorer.explorerPlugin({ showAttribution: false });

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher,
    plugins: [modulesPlugin, explorer],
    visiblePlugin: modulesPlugin,
    defaultQuery: START,
    defaultHeaders: '{ "Authorization": "Bearer " }',
    shouldPersistHeaders: false,
    defaultEditorToolsVisibility: "headers",
  }),
);
