import { inject } from 'inversify'
import { z } from 'zod'
import { type CommandHandler, commandHandler } from '../../../kernel/cqrs/handlers.js'
import { command } from '../../../kernel/cqrs/message.js'
import { assertPrecondition, Precondition } from '../../../kernel/http/entity-tag.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { FeatureFlag } from '../domain/feature-flag.js'
import { featureFlagNotFound } from '../domain/feature-flag-not-found.js'
import { FeatureFlagName } from '../feature-flag-view.js'

export class DeleteFeatureFlag extends command(
  z.strictObject({ name: FeatureFlagName, precondition: Precondition }),
).returning<void>() {}

@commandHandler(DeleteFeatureFlag)
export class DeleteFeatureFlagHandler implements CommandHandler<DeleteFeatureFlag> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ name, precondition }: DeleteFeatureFlag): Promise<void> {
    const flags = this.unitOfWork.of(FeatureFlag)
    const flag = await flags.find(name)
    if (!flag?.exists) throw featureFlagNotFound(name)
    assertPrecondition(precondition, flag)
    flag.delete(new Date())
    await flags.save(flag)
  }
}
