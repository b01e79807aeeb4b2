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

const explorer = GraphiQLPluginExplorer.explorerPlugin({ showAttribution: false });

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher,
    plugins: [explorer],
    defaultQuery: START,
    defaultHeaders: '{ "Authorization": "Bearer " }',
    shouldPersistHeaders: false,
    defaultEditorToolsVisibility: "headers",
  }),
);
