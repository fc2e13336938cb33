"""What a person does on the page: look at a frame, drag a handle; and what the page may ask for."""


def only_this_machine(page, bench, problems):
    """Block all other hosts; whatever fails, or is asked of another host, goes to ``problems``."""

    def route(route):
        if f"127.0.0.1:{bench.port}" in route.request.url or route.request.url.startswith(("blob:", "data:")):
            route.continue_()
        else:
            problems.append(route.request.url)
            route.abort()

    page.set_default_timeout(120_000)
    page.route("**/*", route)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)


def show_frame(page, frame):
    page.evaluate(
        "frame => { const s = document.getElementById('seek'); s.value = frame; s.dispatchEvent(new Event('input')); }",
        frame,
    )
    page.wait_for_function(f"() => document.getElementById('at').textContent.startsWith('frame {frame}')")
    page.wait_for_selector(".handle")


def drag(page, handle, by):
    """Drag a handle sideways and wait for the new curve."""
    before = page.evaluate("() => workbench.times.length")
    box = page.locator(".handle").nth(handle).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=3)
    page.mouse.up()
    page.wait_for_function(f"() => workbench.times.length > {before}", timeout=120_000)
