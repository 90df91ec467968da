import type { FastifyPluginAsync } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { RouteContext } from '../../../kernel/cqrs/module.js'
import { DomainError } from '../../../kernel/domain/index.js'
import { preconditionOf, refusePrecondition, sendRepresentation } from '../../../kernel/http/entity-tag.js'
import { problemAnswer } from '../../../kernel/http/openapi.js'
import { ChangeUser } from '../commands/change-user.js'
import { DeleteUser } from '../commands/delete-user.js'
import { RegisterUser } from '../commands/register-user.js'
import { SetPermissions } from '../commands/set-permissions.js'
import { UserId } from '../domain/values.js'
import { GetUser } from '../queries/get-user.js'
import { UserView } from '../user-view.js'

const tags = ['users']
const params = z.strictObject({ id: UserId })

export function userRoutes({ commandBus, queryBus }: RouteContext): FastifyPluginAsync {
  return async (fastify) => {
    const app = fastify.withTypeProvider<ZodTypeProvider>()

    app.post(
      '/users',
      {
        schema: {
          operationId: 'registerUser',
          tags,
          summary: 'Register a user',
          body: RegisterUser.schema,
          response: { 201: UserView, 409: problemAnswer },
        },
      },
      async (request, reply) => {
        refusePrecondition(request)
        const user = await commandBus.execute(new RegisterUser(request.body), request.consistency)
        return sendRepresentation(request, reply.code(201).header('Location', `/users/${user.id}`), user)
      },
    )

    app.get(
      '/users/:id',
      {
        schema: {
          operationId: 'getUser',
          tags,
          summary: 'One user',
          params,
          response: { 200: UserView, 404: problemAnswer },
        },
      },
      async (request, reply) => {
        const { id } = request.params
        const user = await queryBus.execute(new GetUser({ userId: id }), request.consistency)
        if (!user) throw new DomainError('not-found', 'user-not-found', `There is no user ${id}`)
        return sendRepresentation(request, reply, user)
      },
    )

    app.patch(
      '/users/:id',
      {
        schema: {
          operationId: 'changeUser',
          tags,
          summary: 'Change name or email',
          params,
          body: ChangeUser.schema.omit({ userId: true, precondition: true }),
          response: { 200: UserView, 404: problemAnswer },
        },
      },
      async (request, reply) => {
        const command = new ChangeUser({
          userId: request.params.id,
          ...request.body,
          precondition: preconditionOf(request),
        })
        return sendRepresentation(request, reply, await commandBus.execute(command, request.consistency))
      },
    )

    app.put(
      '/users/:id/permissions',
      {
        schema: {
          operationId: 'setPermissions',
          tags,
          summary: 'Replace the permissions',
          params,
          body: SetPermissions.schema.omit({ userId: true, precondition: true }),
          response: { 200: UserView, 404: problemAnswer },
        },
      },
      async (request, reply) => {
        const command = new SetPermissions({
          userId: request.params.id,
          permissions: request.body.permissions,
          precondition: preconditionOf(request),
        })
        return sendRepresentation(request, reply, await commandBus.execute(command, request.consistency))
      },
    )

    app.delete(
      '/users/:id',
      {
        schema: {
          operationId: 'deleteUser',
          tags,
          summary: 'Delete a user',
          params,
          response: { 204: z.void(), 404: problemAnswer },
        },
      },
      async (request, reply) => {
        const command = new DeleteUser({ userId: request.params.id, precondition: preconditionOf(request) })
        await commandBus.execute(command, request.consistency)
        return reply.code(204).send()
      },
    )
  }
}
