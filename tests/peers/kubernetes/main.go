// kubernetes is a user of a cluster with client-go: it reads, watches, changes, follows logs, runs commands and
// forwards ports through the proxy that a kubeconfig leads to, each stream over SPDY and over websockets.
//
//	kubernetes KUBECONFIG USER GROUP...
//
// The kubeconfig's namespace has a running pod "web". USER and GROUPs are who the cluster must think it is, with the
// rights of the role "edit".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"omni/tests/peers/internal/report"
)

const (
	callTimeout = 20 * time.Second
	pod         = "web"
)

// user is somebody with access to a cluster.
type user struct {
	name      string
	groups    []string
	namespace string
	config    *rest.Config
	client    *kubernetes.Clientset
}

func main() {
	if len(os.Args) < 3 {
		report.Fatal(errors.New("usage: kubernetes KUBECONFIG USER GROUP..."))
	}

	user, err := newUser(os.Args[1], os.Args[2], os.Args[3:])
	if err != nil {
		report.Fatal(err)
	}

	check("who I am", user.identity)
	check("get and list", user.read)
	check("watch", user.watch)
	check("an informer", user.informer)
	check("what is not allowed", user.forbidden)
	check("a token that is not known", user.unauthorized)
	check("logs, followed", user.logs)
	check("a large object", user.large)

	for _, transport := range transports {
		check("exec over "+transport.name, func(ctx context.Context) error { return user.exec(ctx, transport) })
		check("a megabyte through exec over "+transport.name, func(ctx context.Context) error { return user.pipe(ctx, transport) })
		check("a port over "+transport.name, func(ctx context.Context) error { return user.forward(ctx, transport) })
	}

	report.Exit()
}

func newUser(kubeconfig, name string, groups []string) (*user, error) {
	loaded := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}, nil)

	config, err := loaded.ClientConfig()
	if err != nil {
		return nil, err
	}

	namespace, _, err := loaded.Namespace()
	if err != nil {
		return nil, err
	}

	client, err := kubernetes.NewForConfig(config)

	return &user{name: name, groups: groups, namespace: namespace, config: config, client: client}, err
}

// check reports one check that may take as long as a call.
func check(name string, do func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()

	report.Check(name, do(ctx))
}

// identity is what the cluster says about who calls.
func (u *user) identity(ctx context.Context) error {
	review, err := u.client.AuthenticationV1().SelfSubjectReviews().Create(
		ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}

	known := review.Status.UserInfo
	if err = report.Equal("the user", known.Username, u.name); err != nil {
		return err
	}

	if want := append(slices.Clone(u.groups), "system:authenticated"); !slices.Equal(known.Groups, want) {
		return fmt.Errorf("the groups are %v, want %v", known.Groups, want)
	}

	return nil
}

func (u *user) read(ctx context.Context) error {
	version, err := u.client.Discovery().ServerVersion()
	if err != nil {
		return err
	}

	if version.GitVersion == "" {
		return errors.New("the server has no version")
	}

	pods, err := u.client.CoreV1().Pods(u.namespace).List(ctx, metav1.ListOptions{Limit: 500})
	if err != nil {
		return err
	}

	if !slices.ContainsFunc(pods.Items, func(item corev1.Pod) bool { return item.Name == pod }) {
		return fmt.Errorf("%s is not among %d pods", pod, len(pods.Items))
	}

	found, err := u.client.CoreV1().Pods(u.namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return err
	}

	return report.Equal("the pod's phase", found.Status.Phase, corev1.PodRunning)
}

// watch sees an object come, change and go.
func (u *user) watch(ctx context.Context) error {
	maps := u.client.CoreV1().ConfigMaps(u.namespace)

	listed, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}

	watching, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: listed.ResourceVersion})
	if err != nil {
		return err
	}
	defer watching.Stop()

	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "watched"}, Data: map[string]string{"a": "1"}}
	if object, err = maps.Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return err
	}

	if err = next(ctx, watching, watch.Added, "1"); err != nil {
		return err
	}

	object.Data["a"] = "2"
	if _, err = maps.Update(ctx, object, metav1.UpdateOptions{}); err != nil {
		return err
	}

	if err = next(ctx, watching, watch.Modified, "2"); err != nil {
		return err
	}

	if err = maps.Delete(ctx, object.Name, metav1.DeleteOptions{}); err != nil {
		return err
	}

	return next(ctx, watching, watch.Deleted, "2")
}

// next waits for the next event, which must be this one.
func next(ctx context.Context, watching watch.Interface, kind watch.EventType, value string) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("no event %s came: %w", kind, ctx.Err())
	case event, ok := <-watching.ResultChan():
		if !ok {
			return errors.New("the watch ended")
		}

		object, ok := event.Object.(*corev1.ConfigMap)
		if !ok {
			return fmt.Errorf("the watch said %v", event.Object)
		}

		return report.First(
			func() error { return report.Equal("the event", event.Type, kind) },
			func() error { return report.Equal("the value", object.Data["a"], value) },
		)
	}
}

func (u *user) informer(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(u.client, 0, informers.WithNamespace(u.namespace))
	informer := factory.Core().V1().Pods().Informer()

	factory.Start(ctx.Done())

	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return errors.New("the informer did not get all pods")
	}

	if _, found, err := informer.GetStore().GetByKey(u.namespace + "/" + pod); err != nil || !found {
		return fmt.Errorf("the informer has no %s: %w", pod, err)
	}

	return nil
}

// forbidden is refused by the cluster itself, in its own words.
func (u *user) forbidden(ctx context.Context) error {
	_, err := u.client.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		return fmt.Errorf("listing role bindings was answered with: %w", err)
	}

	config := rest.CopyConfig(u.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "root", Groups: []string{"system:masters"}}

	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}

	claimed := *u
	claimed.client = client

	return claimed.identity(ctx)
}

func (u *user) unauthorized(ctx context.Context) error {
	config := rest.CopyConfig(u.config)
	config.BearerToken, config.ExecProvider = "unknown", nil

	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}

	if _, err = client.CoreV1().Pods(u.namespace).List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		return fmt.Errorf("an unknown token was answered with: %w", err)
	}

	return nil
}

// large is near to the most that an API server takes.
func (u *user) large(ctx context.Context) error {
	maps := u.client.CoreV1().ConfigMaps(u.namespace)
	content := make([]byte, 1<<20)

	for i := range content {
		content[i] = byte('a' + i%26)
	}

	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "large"}, Data: map[string]string{"a": string(content)}}
	if _, err := maps.Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return err
	}

	found, err := maps.Get(ctx, object.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}

	if found.Data["a"] != string(content) {
		return errors.New("the object came back different")
	}

	return maps.Delete(ctx, object.Name, metav1.DeleteOptions{})
}
