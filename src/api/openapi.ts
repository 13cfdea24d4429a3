/** `GET /openapi.json`: what there is to ask for, for tools and people. */
import { PLAN_KINDS } from './plans.ts';
import { DRAIN_KINDS } from './source.ts';

const text = { type: 'string' } as const;

const answers = {
  200: { description: 'What was asked for', content: { 'application/json': { schema: { type: 'object' } } } },
  400: {
    description: 'The request is wrong: error says what, remedy what would be right',
    $ref: '#/components/responses/Problem',
  },
} as const;

function post(summary: string, required: readonly string[], properties: Record<string, object>) {
  const schema = { type: 'object', required, properties, additionalProperties: false };
  return {
    post: { summary, requestBody: { required: true, content: { 'application/json': { schema } } }, responses: answers },
  };
}

function get(summary: string, type: string) {
  return { get: { summary, responses: { 200: { description: summary, content: { [type]: {} } } } } };
}

const drainBody = { kind: { enum: DRAIN_KINDS }, name: text };

export function openApiDocument(version: string): object {
  const problem = { type: 'object', required: ['error', 'remedy'], properties: { error: text, remedy: text } };
  return {
    openapi: '3.1.0',
    info: { title: 'Portico', version, description: 'State, explanations and orders of a running Portico.' },
    paths: {
      '/status': get('State of sites, services, backends, balancers and name servers, with rates', 'application/json'),
      '/dns/top': get(
        'Who asks the name servers most, and for what: ?count=20 lines of each list, at most 1000',
        'application/json',
      ),
      '/metrics': get('Counters and gauges for Prometheus', 'text/plain'),
      '/events': get(
        'Server-sent events: history once, status every second, change as it happens',
        'text/event-stream',
      ),
      '/explain/flow': post('Where a packet goes and why', ['source', 'destination'], {
        source: { ...text, examples: ['203.0.113.5:40000', '[2001:db8::5]:40000'] },
        destination: { ...text, examples: ['192.0.2.10:80'] },
        protocol: { enum: ['tcp', 'udp'], default: 'tcp' },
      }),
      '/explain/dns': post('What a name server answers and why', ['name', 'from'], {
        name: { ...text, examples: ['www.example.com'] },
        type: { ...text, default: 'A' },
        from: { ...text, description: 'Address of the resolver that asks', examples: ['203.0.113.5'] },
        ecs: { ...text, description: 'Client subnet in the query', examples: ['203.0.113.0/24'] },
      }),
      '/capture': post('Packets with what became of them, one JSON object a line, until the client leaves', [], {
        vip: { ...text, description: 'Only packets to this address', examples: ['192.0.2.10'] },
        balancer: { ...text, description: 'Only through this balancer' },
        every: { ...text, default: '1', description: 'One packet in so many' },
      }),
      '/drain': post('Stop new work of a backend, balancer, site or name server', ['kind', 'name'], {
        ...drainBody,
        deadline: { ...text, description: 'Backends: then their last connections are given up', examples: ['10m'] },
      }),
      '/undrain': post('Take a drain back', ['kind', 'name'], drainBody),
      '/settle': post('Settle the slots of a service that may be settled now', ['service'], {
        service: text,
        balancer: { ...text, description: 'Ask this one alone: tells what it has seen, settles nothing' },
      }),
      '/reload': post('Read the configuration file again', [], {
        anyway: { enum: ['yes'], description: 'However much demand it moves' },
      }),
      '/plan': post('What a change would do, minute by minute; changes nothing', ['change', 'target'], {
        change: { enum: PLAN_KINDS },
        target: { ...text, description: 'A site, SITE/LINK or a service', examples: ['us', 'us/transit', 'www'] },
        value: { ...text, examples: ['80%', 'down', '52.37,4.90', '30s'] },
        capacity: { ...text, description: 'Of a site that is added', examples: ['20000/s'] },
        minutes: { ...text, description: 'Absent: until it has come about', examples: ['30'] },
      }),
      '/plan/followed': get('Plans that were carried out: forecast and what came, by minute', 'application/json'),
      '/steer': get('Pins, freeze, the measured map, and how policies of services came out', 'application/json'),
      '/steer/resolvers': post('What is known of resolvers and the users behind them; changes nothing', [], {
        of: { ...text, description: 'Prefix or address of one', examples: ['203.0.113.0/24'] },
        limit: { ...text, description: 'The most important, 1 to 10000', examples: ['20'] },
      }),
      '/steer/pin': post('Send clients to a site as long as it is up, before any policy', ['site'], {
        site: text,
        prefix: { ...text, description: 'Of clients, or the address of a resolver; absent: all' },
        service: { ...text, description: 'Absent: every service with addresses at the site' },
        for: { ...text, description: 'Then it ends', examples: ['1h'] },
      }),
      '/steer/unpin': post('Take a pin away', [], { prefix: text, service: text }),
      '/steer/freeze': post('Take nothing over that would send clients elsewhere', [], {}),
      '/steer/unfreeze': post('End the freeze', [], {}),
      '/steer/diff': post('What the configuration file as it is now would move', [], {}),
    },
    components: {
      responses: { Problem: { description: 'Why not', content: { 'application/json': { schema: problem } } } },
    },
  };
}
