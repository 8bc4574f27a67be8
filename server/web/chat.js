// The chat page: it streams from this server's own API and needs nothing else.
const $ = (id) => document.getElementById(id);
const conversation = []; // messages as the API has them
let running = null; // AbortController of the answer in the making

const saved = ["system", "temperature", "max-tokens", "key"];
for (const id of saved) {
	$(id).value = sessionStorage.getItem("ullm." + id) ?? "";
	$(id).addEventListener("change", () => sessionStorage.setItem("ullm." + id, $(id).value));
}

function headers() {
	const h = { "Content-Type": "application/json" };
	if ($("key").value) h.Authorization = "Bearer " + $("key").value;
	return h;
}

// showModel waits until the model is loaded and says what it is.
async function showModel() {
	for (;;) {
		try {
			const ready = await (await fetch("readyz")).json();
			if (ready.status === "ready") break;
			const share = ready.total_bytes ? ` ${Math.round((100 * ready.done_bytes) / ready.total_bytes)} %` : "";
			$("model").textContent = `${ready.status}${share} …`;
		} catch {
			$("model").textContent = "the server does not answer";
		}
		await new Promise((later) => setTimeout(later, 500));
	}
	const answer = await fetch("v1/models", { headers: headers() });
	$("model").textContent = answer.ok ? (await answer.json()).data[0].id : "set the API key";
}
$("key").addEventListener("change", showModel);

// render shows text with its code marked; everything else stays as it is.
function render(element, text) {
	element.replaceChildren();
	const block = /```[^\n]*\n?([\s\S]*?)(?:```|$)|`([^`\n]+)`/g;
	let at = 0;
	for (const m of text.matchAll(block)) {
		element.append(text.slice(at, m.index));
		const code = document.createElement("code");
		code.textContent = m[1] ?? m[2];
		if (m[1] !== undefined) {
			const pre = document.createElement("pre");
			pre.append(code);
			element.append(pre);
		} else element.append(code);
		at = m.index + m[0].length;
	}
	element.append(text.slice(at));
}

function addMessage(role, text = "") {
	const box = document.createElement("div");
	box.className = "message " + role;
	const body = document.createElement("div");
	body.className = "text";
	box.append(body);
	$("messages").append(box);
	render(body, text);
	follow();
	return { box, body };
}

// follow keeps the end in view unless the reader has scrolled up.
function follow() {
	const m = $("messages");
	if (m.scrollHeight - m.scrollTop - m.clientHeight < 200) m.scrollTop = m.scrollHeight;
}

function thought(box) {
	const details = document.createElement("details");
	details.className = "thinking";
	details.open = true;
	const summary = document.createElement("summary");
	summary.textContent = "Thinking";
	const text = document.createElement("div");
	details.append(summary, text);
	box.prepend(details);
	return { details, text };
}

function requestBody() {
	const body = { model: "ullm", messages: [...conversation], stream: true, stream_options: { include_usage: true } };
	if ($("system").value) body.messages.unshift({ role: "system", content: $("system").value });
	if ($("temperature").value !== "") body.temperature = Number($("temperature").value);
	if ($("max-tokens").value) body.max_tokens = Number($("max-tokens").value);
	body.chat_template_kwargs = { enable_thinking: $("think").checked };
	return JSON.stringify(body);
}

// events reads server-sent events until [DONE].
async function* events(response) {
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	let text = "";
	for (;;) {
		const { value, done } = await reader.read();
		if (done) return;
		text += value;
		const parts = text.split("\n\n");
		text = parts.pop();
		for (const part of parts) {
			const data = part.replace(/^data: /, "");
			if (data === "[DONE]") return;
			yield JSON.parse(data);
		}
	}
}

async function ask(question) {
	conversation.push({ role: "user", content: question });
	addMessage("user", question);
	const { box, body } = addMessage("assistant");
	let content = "", thinking = null, usage = null;
	const begun = performance.now();
	running = new AbortController();
	$("send").textContent = "Stop";
	try {
		const response = await fetch("v1/chat/completions", { method: "POST", headers: headers(), body: requestBody(), signal: running.signal });
		if (!response.ok) throw new Error((await response.json()).error.message);
		for await (const event of events(response)) {
			if (event.error) throw new Error(event.error.message);
			usage = event.usage ?? usage;
			const delta = event.choices[0]?.delta ?? {};
			if (delta.reasoning_content) {
				thinking ??= thought(box);
				thinking.text.textContent += delta.reasoning_content;
			}
			if (delta.content) {
				if (thinking) thinking.details.open = false;
				content += delta.content;
				render(body, content);
			}
			follow();
		}
	} catch (error) {
		if (error.name !== "AbortError") addMessage("error", error.message);
	} finally {
		running = null;
		$("send").textContent = "Send";
	}
	if (content) conversation.push({ role: "assistant", content });
	else conversation.pop();
	if (usage) {
		const note = document.createElement("div");
		note.className = "quiet";
		const rate = usage.completion_tokens / ((performance.now() - begun) / 1000);
		note.textContent = `${usage.completion_tokens} tokens, ${rate.toFixed(1)} a second`;
		box.append(note);
	}
	follow();
}

$("form").addEventListener("submit", (event) => {
	event.preventDefault();
	if (running) return running.abort();
	const question = $("input").value.trim();
	if (!question) return;
	$("input").value = "";
	$("input").style.height = "";
	ask(question);
});
$("input").addEventListener("keydown", (event) => {
	if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
		event.preventDefault();
		if (!running) $("form").requestSubmit();
	}
});
$("input").addEventListener("input", () => {
	$("input").style.height = "";
	$("input").style.height = $("input").scrollHeight + "px";
});
$("clear").addEventListener("click", () => {
	running?.abort();
	conversation.length = 0;
	$("messages").replaceChildren();
	$("input").focus();
});
showModel();
