// Mounts GraphiQL over this bank. Queries go by HTTP, subscriptions by WebSocket (graphql-transport-ws); both use the
// Authorization header of the headers editor.
"use strict";

const START = `# Vostro GraphiQL
#
# 1. Register or log in:
#
#    mutation {
#      login(input: { email: "you@example.org", password: "..." }) {
#        tokens { accessToken }
#        userErrors { code message field }
#      }
#    }
#
# 2. Put the token into the headers editor below: { "Authorization": "Bearer <accessToken>" }
#
# 3. Ask. The explorer on the left and the documentation show everything there is.

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

function fieldRow(field) {
  const cost = field.size ? `${field.cost} points, ${field.size}` : `${field.cost} points`;
  return element(
    "tr",
    { key: `${field.kind} ${field.name}` },
    element("td", null, element("code", null, field.signature), element("div", null, field.description)),
    element("td", null, `${field.kind}; ${field.access}; ${cost}`, field.deprecated ? ` — deprecated: ${field.deprecated}` : ""),
  );
}

function exampleButton(example, editors) {
  const show = () => {
    editors.queryEditor?.setValue(example.document);
    editors.variableEditor?.setValue(example.variables ? JSON.stringify(example.variables, null, 2) : "");
  };
  return element("button", { key: example.title, onClick: show }, `${example.title} (${example.needs})`);
}

function ModulesPanel() {
  const editors = GraphiQL.React.useEditorContext({ nonNull: true });
  const [shown, show] = React.useState(null);
  React.useEffect(() => void modules.then(show), []);
  if (!shown) return element("div", { className: "vostro-modules" }, "Loading …");
  const names = [...new Set(shown.fields.map((field) => field.module))];
  return element(
    "div",
    { className: "vostro-modules" },
    element("h2", null, "Start here"),
    shown.examples.map((example) => exampleButton(example, editors)),
    names.map((name) =>
      element(
        "section",
        { key: name },
        element("h2", null, `Module ${name}`),
        element("table", null, element("tbody", null, shown.fields.filter((field) => field.module === name).map(fieldRow))),
      ),
    ),
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
