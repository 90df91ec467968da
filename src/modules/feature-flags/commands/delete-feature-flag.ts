import { inject } from 'inversify'
import { z } from 'zod'
import { type CommandHandler, commandHandler } from '../../../kernel/cqrs/handlers.js'
import { command } from '../../../kernel/cqrs/message.js'
import { Precondition } from '../../../kernel/domain/index.js'
import { UnitOfWork } from '../../../kernel/persistence/unit-of-work.js'
import { FeatureFlag } from '../domain/feature-flag.js'
import { FeatureFlagName } from '../domain/values.js'

export class DeleteFeatureFlag extends command(
  z.strictObject({ name: FeatureFlagName, precondition: Precondition }),
).returning<void>() {}

@commandHandler(DeleteFeatureFlag)
export class DeleteFeatureFlagHandler implements CommandHandler<DeleteFeatureFlag> {
  constructor(@inject(UnitOfWork) private readonly unitOfWork: UnitOfWork) {}

  async execute({ name, precondition }: DeleteFeatureFlag): Promise<void> {
    const flags = this.unitOfWork.of(FeatureFlag)
    const flag = await flags.get(name, precondition)
    flag.delete(new Date())
    await flags.save(flag)
  }
}
