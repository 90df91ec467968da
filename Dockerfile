# No BuildKit-only syntax: the classic builder has to read it, too.

# In production, name the image with its digest; docker-compose.yml says how.
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS base
WORKDIR /app
COPY package.json package-lock.json ./

FROM base AS production-dependencies
# Without install scripts: nothing that the service or its build uses needs one.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM base AS build
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ormconfig.ts ./
COPY migrations migrations
COPY src src
COPY tools tools
RUN npm run build

FROM base
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000
COPY --from=production-dependencies /app/node_modules node_modules
COPY deploy/healthcheck.mjs deploy/
COPY --from=build /app/dist/ormconfig.js /app/dist/ormconfig.js.map dist/
COPY --from=build /app/dist/tools/migrate.js /app/dist/tools/migrate.js.map dist/tools/
COPY --from=build /app/dist/migrations dist/migrations
COPY --from=build /app/dist/src dist/src
# The files stay root's: a process that is taken over cannot change what the next start runs.
USER node
EXPOSE 3000
STOPSIGNAL SIGTERM
# Live, not ready: whoever restarts what is unhealthy must not restart every node because Postgres is away.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "deploy/healthcheck.mjs", "/health/live"]
# Exec form, so that node itself gets the signal.
CMD ["node", "--enable-source-maps", "dist/src/main.js"]
