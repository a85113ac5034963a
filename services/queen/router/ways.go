package router

import (
	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/queen/registry"
)

// Ways is a set of routes to a worker.
type Ways uint8

// The routes.
const (
	WayBus Ways = 1 << iota
	WayDirect
	anyWay = WayBus | WayDirect
)

// usable is how a request may reach a worker now. A port is used by auto only after it has answered:
// from here its address may be another machine's.
func usable(v *registry.View, route string, online bool) (w Ways) {
	if v.Suspect != "" || (v.Status != messages.StatusReady && v.Status != messages.StatusBusy) {
		return 0
	}
	if v.Port > 0 && (v.Direct == registry.RouteUp || route == RouteDirect && v.Direct != registry.RouteDown) {
		w |= WayDirect
	}
	if online && v.Bus == registry.RouteUp {
		w |= WayBus
	}
	switch route {
	case RouteBus:
		w &= WayBus
	case RouteDirect:
		w &= WayDirect
	}
	return w
}
