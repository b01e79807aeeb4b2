import { Document } from "@vostro/client";

/** Operations of somebody else than this package: `vostro-manifest` makes their manifest of this module. */
export const NameDocument = new Document<{ me: { displayName: string } | null }, Record<string, never>>(
  "query", "Name", "query Name { me { displayName } }",
);

/** One with an id of its own, as other tools give them. */
export const RolesDocument = new Document<{ me: { roles: string[] } | null }, Record<string, never>>(
  "query", "Roles", "query Roles { me { roles } }", "roles-1",
);
