// What GraphQL-ESLint recommends for schemas and for Relay, and why not all of it.
import { fileURLToPath } from "node:url";
import graphql from "@graphql-eslint/eslint-plugin";

/** The API of the largest audience, which has what all others have. */
export const SCHEMA = fileURLToPath(new URL("../sdl/api/internal.graphql", import.meta.url));

export default [
  {
    files: ["**/*.graphql"],
    plugins: { "@graphql-eslint": graphql },
    languageOptions: { parser: graphql.parser, parserOptions: { graphQLConfig: { schema: SCHEMA } } },
    rules: {
      ...graphql.configs["flat/schema-recommended"].rules,
      ...graphql.configs["flat/schema-relay"].rules,
      // The file is printed by a program, which writes long descriptions as blocks and short ones in a line.
      "@graphql-eslint/description-style": "off",
      // Amounts, payloads, refusals and pages are values. That every object of its own has an id is tested in Rust.
      "@graphql-eslint/strict-id-in-types": "off",
      // What a connection or a root type is everybody knows who knows GraphQL.
      "@graphql-eslint/require-description": [
        "error",
        {
          types: true,
          DirectiveDefinition: true,
          rootField: true,
          ignoredSelectors: ["[type=ObjectTypeDefinition][name.value=/Connection$|^Mutation$|^Subscription$/]"],
        },
      ],
      // `nodes` stands beside `edges`, and rows of the audit trail or of a queue are no objects one asks for again.
      "@graphql-eslint/relay-edge-types": [
        "error",
        { withEdgeSuffix: true, shouldImplementNode: false, listTypeCanWrapOnlyEdgeType: false },
      ],
    },
  },
];
