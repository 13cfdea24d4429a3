/** What an operator should know of how programs are attached: of generic mode. */
import type { Attachment } from '../serve/vip/attach.ts';
import type { Log } from './log.ts';

export function warnOfAttachments(attachments: readonly Attachment[], fields: object, log: Log): void {
  for (const { interfaceName, note } of attachments) {
    if (note !== null) log.warn({ ...fields, interface: interfaceName }, `interface ${interfaceName}: ${note}`);
  }
}
