// The chat page: it streams from this server's own API and needs nothing else.
const $ = (id) => document.getElementById(id);
let conversation = []; // messages as the API has them
let running = null; // AbortController of the answer in the making

// What is typed into the settings lasts as long as the tab.
for (const id of ["system", "temperature", "max-tokens", "key"]) {
	$(id).value = sessionStorage.getItem("ullm." + id) ?? "";
	$(id).addEventListener("change", () => sessionStorage.setItem("ullm." + id, $(id).value));
}

function make(tag, className, text = "") {
	const e = document.createElement(tag);
	e.className = className;
	e.textContent = text;
	return e;
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
	const name = answer.ok ? (await answer.json()).data[0].id : "";
	$("model").textContent = name || "set the API key";
	showExamples(name);
}
$("key").addEventListener("change", showModel);

function showExamples(model) {
	const guide = ["What is ullm?", "How do I serve a model?", "How do I use a GPU?", "How do I stop it cleanly?"];
	const any = ["Why is the sky blue?", "What is 17 times 23?", "Write a haiku about the sea."];
	$("examples").replaceChildren(...(model === "ullm-guide" ? guide : any).map((question) => {
		const b = make("button", "", question);
		b.type = "button";
		b.addEventListener("click", () => ask(question));
		return b;
	}));
}

// render shows text with its code and bold words marked; everything else stays as it is.
function render(element, text) {
	const parts = [];
	const marked = /```[^\n]*\n?([\s\S]*?)(?:```|$)|`([^`\n]+)`|\*\*([^*\n]+)\*\*/g;
	let at = 0;
	for (const m of text.matchAll(marked)) {
		parts.push(text.slice(at, m.index));
		if (m[1] !== undefined) {
			const pre = make("pre", "");
			pre.append(make("code", "", m[1]));
			parts.push(pre);
		} else parts.push(m[2] !== undefined ? make("code", "", m[2]) : make("b", "", m[3]));
		at = m.index + m[0].length;
	}
	element.replaceChildren(...parts, text.slice(at));
}

// addMessage appends a message and returns its box and where its text goes.
function addMessage(role, text = "") {
	$("welcome").hidden = true;
	const box = make("div", "message " + role);
	const body = make("div", "text");
	box.append(body);
	$("messages").append(box);
	render(body, text);
	return { box, body };
}

// following tells whether the end is in view, and follow brings it there, so that a reader who scrolled up stays there.
const following = () => $("scroll").scrollHeight - $("scroll").scrollTop - $("scroll").clientHeight < 80;
const follow = () => ($("scroll").scrollTop = $("scroll").scrollHeight);

// addThinking puts a box for the thinking before the answer.
function addThinking(box) {
	const details = make("details", "thinking");
	details.open = true;
	const text = make("div", "thought");
	details.append(make("summary", "", "Thinking"), text);
	box.prepend(details);
	return { details, text };
}

function addFoot(box, content, usage, seconds) {
	const foot = make("div", "foot");
	if (usage) foot.append(make("span", "", `${usage.completion_tokens} tokens · ${(usage.completion_tokens / seconds).toFixed(1)} per second`));
	if (content && navigator.clipboard) {
		const copy = make("button", "", "Copy");
		copy.type = "button";
		copy.addEventListener("click", async () => {
			await navigator.clipboard.writeText(content);
			copy.textContent = "Copied";
		});
		foot.append(copy);
	}
	box.append(foot);
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
		if (done) throw new Error("The connection was lost before the answer was complete.");
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

function setRunning(controller) {
	running = controller;
	$("send").className = running ? "stop" : "";
	$("send").title = running ? "Stop" : "Send";
	$("send").setAttribute("aria-label", $("send").title);
}

// answer streams an answer to the conversation into a message and returns its text.
async function answer({ box, body }, signal) {
	const begun = performance.now();
	let content = "", thinking = null, usage = null;
	try {
		const response = await fetch("v1/chat/completions", { method: "POST", headers: headers(), body: requestBody(), signal });
		if (!response.ok) throw new Error((await response.json()).error.message);
		for await (const event of events(response)) {
			if (event.error) throw new Error(event.error.message);
			const stay = following();
			usage = event.usage ?? usage;
			const delta = event.choices[0]?.delta ?? {};
			if (delta.reasoning_content) {
				thinking ??= addThinking(box);
				thinking.text.textContent += delta.reasoning_content;
			}
			if (delta.content) {
				if (thinking && !content) thinking.details.open = false;
				content += delta.content;
				render(body, content);
			}
			if (stay) follow();
		}
	} catch (error) {
		if (error.name !== "AbortError") addMessage("failed", error.message);
	}
	box.classList.remove("waiting");
	const stay = following();
	if (!content && !thinking) box.remove();
	else addFoot(box, content, usage, (performance.now() - begun) / 1000);
	if (stay) follow();
	return content;
}

async function ask(question) {
	if (running) return;
	const here = conversation, mine = new AbortController(); // "New chat" may put others in their place meanwhile
	addMessage("user", question);
	here.push({ role: "user", content: question });
	setRunning(mine);
	const message = addMessage("assistant waiting");
	follow();
	const content = await answer(message, mine.signal);
	if (content) here.push({ role: "assistant", content });
	else here.pop();
	if (running === mine) setRunning(null);
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
	conversation = [];
	setRunning(null);
	$("messages").replaceChildren();
	$("welcome").hidden = false;
	$("input").focus();
});
document.addEventListener("click", (event) => {
	if (!$("settings").contains(event.target)) $("settings").open = false;
});
showModel();
