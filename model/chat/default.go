package chat

// DefaultTemplate is for a model that comes without a chat template: the ChatML
// form that Qwen3 models are trained on. It takes tools, tool calls and their
// results, and enable_thinking. The thinking of earlier answers is left out.
const DefaultTemplate = `{%- set state = namespace(asked=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- set state.asked = loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- set rest = messages %}
{%- set system = '' %}
{%- if messages and messages[0].role == 'system' %}
    {%- set system = messages[0].content %}
    {%- set rest = messages[1:] %}
    {%- set state.asked = state.asked - 1 %}
{%- endif %}
{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {{- system + '\n\n' if system }}
    {{- '# Tools\n\nThese functions can be called, described in JSON within <tools></tools>:\n<tools>' }}
    {%- for tool in tools %}
        {{- '\n' + tool | tojson }}
    {%- endfor %}
    {{- '\n</tools>\n\nTo call one, answer with its name and arguments in JSON within <tool_call></tool_call>:\n' }}
    {{- '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n' }}
{%- elif system %}
    {{- '<|im_start|>system\n' + system + '<|im_end|>\n' }}
{%- endif %}
{%- for message in rest %}
    {%- if message.role == 'assistant' %}
        {%- set answer = message.content %}
        {%- set thinking = message.reasoning_content | default('') %}
        {%- if '</think>' in answer %}
            {%- set thinking = thinking or answer.split('</think>')[0].split('<think>')[-1] %}
            {%- set answer = answer.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' }}
        {%- if loop.index0 > state.asked and thinking %}
            {{- '<think>\n' + thinking.strip('\n') + '\n</think>\n\n' }}
        {%- endif %}
        {{- answer }}
        {%- for call in message.tool_calls | default([]) %}
            {{- '\n' if answer or not loop.first }}
            {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
            {%- if call.function.arguments is string %}
                {{- call.function.arguments }}
            {%- else %}
                {{- call.function.arguments | tojson }}
            {%- endif %}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or loop.previtem.role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and not enable_thinking %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
`
